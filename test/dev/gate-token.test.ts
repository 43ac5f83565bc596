import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { sampleAgentsToken, writeGateToken } from "../../src/dev/gate-token.ts";
import { GateTokens } from "../../src/identity/gate-tokens.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";

let dataDir: string;
let store: Store;
let tokens: GateTokens;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "mc-gate-token-"));
  store = openSqlite(join(dataDir, "mission-control.db"));
  tokens = new GateTokens(store, createLedger(store, createLog("silent")), ["restate"]);
});
afterEach(async () => {
  await store.close();
  rmSync(dataDir, { recursive: true, force: true });
});

test("it is a gate token that only this user can read, whatever the file was before", async () => {
  writeFileSync(join(dataDir, "gate.token"), "old", { mode: 0o644 });
  const path = await writeGateToken(tokens, sampleAgentsToken("restate"), dataDir);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const principal = await tokens.verify((await readFile(path, "utf8")).trim());
  expect(principal).toMatchObject({ subject: "gate:sample-agents", roles: ["gate"], gateEngine: "restate" });
});

test("each start's token takes the place of the one before", async () => {
  const before = (await readFile(await writeGateToken(tokens, sampleAgentsToken("restate"), dataDir), "utf8")).trim();
  const after = (await readFile(await writeGateToken(tokens, sampleAgentsToken("restate"), dataDir), "utf8")).trim();
  await expect(tokens.verify(before)).rejects.toMatchObject({ reason: "TOKEN_REVOKED" });
  expect((await tokens.verify(after)).subject).toBe("gate:sample-agents");
  expect(await tokens.list(false)).toHaveLength(1);
});
