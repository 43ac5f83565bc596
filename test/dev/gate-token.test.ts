import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { writeGateToken } from "../../src/dev/gate-token.ts";
import { openDevIssuer } from "../../src/identity/dev-issuer.ts";
import { createVerifier } from "../../src/identity/verify.ts";
import { createLog } from "../../src/log.ts";
import { defaultRoles } from "../../src/policy/roles.ts";

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "mc-gate-token-"));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

test("the token has the role gate and no other, and only this user can read it, whatever the file was before", async () => {
  writeFileSync(join(dataDir, "gate.token"), "old", { mode: 0o644 });
  const issuer = await openDevIssuer(dataDir);
  const path = await writeGateToken(issuer, dataDir);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const verifier = await createVerifier({
    issuers: [issuer.config],
    roles: Object.keys(defaultRoles),
    log: createLog("silent"),
  });
  const principal = await verifier.verify((await readFile(path, "utf8")).trim());
  expect(principal).toMatchObject({ subject: "sample-agents", roles: ["gate"] });
});
