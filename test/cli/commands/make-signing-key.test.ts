import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeSigningKey } from "../../../src/cli/signing-key.ts";
import { createServeDirectory, type ServeDirectory } from "../../fixture/serve-process.ts";
import { python } from "../../proof/python.ts";
import { onTerminal, type Seen } from "../console.ts";

let server: ServeDirectory;
let anna: string;
let mctl: (...args: string[]) => Promise<Seen>;
const file = (name: string) => join(server.dir, name);

beforeAll(async () => {
  server = await createServeDirectory();
  anna = makeSigningKey(file("anna.jwk"), "anna");
  await server.start({
    ...server.config(),
    signed_requests: {
      keys: [{ issuer: server.issuer.issuer, subject: "anna", key: anna }],
      required_for: { permissions: ["audit.rotate_key"] },
    },
  });
  writeFileSync(file("token"), await server.issuer.token({ subject: "anna", roles: ["sre_admin"] }), { mode: 0o600 });
  const where = [
    "--server",
    `http://127.0.0.1:${server.port}`,
    "--token-file",
    file("token"),
    "--data-dir",
    file("data"),
  ];
  mctl = (...args) => onTerminal([...args, ...where], undefined, 200);
});
afterAll(() => server.remove());

test("a control call is provably its caller's: the signature is checked, kept in the entry, and shown by who verifies", async () => {
  const rotate = ["audit", "rotate-key", "--reason", "yearly"];
  expect(await mctl(...rotate)).toMatchObject({ code: 4, stderr: expect.stringMatching(/SIGNATURE_REQUIRED/) });
  const made = await onTerminal(["make-signing-key", file("other.jwk"), "--name", "anna"]);
  expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^anna\+[0-9a-f]{8}\+\S{44}\n$/) });
  expect(await mctl(...rotate, "--signing-key", file("other.jwk"))).toMatchObject({
    code: 4,
    stderr: expect.stringMatching(/not registered for anna .*SIGNATURE_INVALID/),
  });
  const { code, stdout } = await mctl(...rotate, "--signing-key", file("anna.jwk"), "-o", "json");
  expect(code).toBe(0);
  const { auditEntryId } = JSON.parse(stdout);

  const receipt = await mctl("audit", "receipt", auditEntryId, "--to", file("receipt.json"));
  expect(receipt.stdout).toContain(`signed      by ${anna} at 20`);
  const key = file("data/ledger-key/verifier.key");
  expect((await python(["receipt", file("receipt.json"), "--key", key])).code).toBe(0);
  expect(await mctl("audit", "export", file("ledger.jsonl"))).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/signed +1 by their callers/),
  });
  expect((await python(["export", file("ledger.jsonl"), "--key", key])).code).toBe(0);
  // Without what is personal, nothing tells who signed.
  const { requestSignature } = JSON.parse((await mctl("audit", "list", "--phase", "INTENT", "-o", "json")).stdout)
    .entries[0];
  expect(requestSignature).toContain(anna);
  await mctl("audit", "export", file("quiet.jsonl"), "--no-personal");
  expect(readFileSync(file("quiet.jsonl"), "utf8")).not.toContain(anna);
});

test("the private key is its owner's alone, is never overwritten, and is refused where others can read it", async () => {
  expect(statSync(file("anna.jwk")).mode & 0o777).toBe(0o600);
  expect(await onTerminal(["make-signing-key", file("anna.jwk")])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/EEXIST/),
  });
  await onTerminal(["make-signing-key", file("open.jwk")]);
  chmodSync(file("open.jwk"), 0o644);
  expect(await mctl("audit", "rotate-key", "--reason", "x", "--signing-key", file("open.jwk"))).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/others can read the signing key/),
  });
  expect(await mctl("audit", "rotate-key", "--reason", "x", "--signing-key", file("token"))).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/is not a signing key/),
  });
});
