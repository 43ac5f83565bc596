import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
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
  expect(receipt.stdout).toMatch(/^signed {6}by anna\+\S+ at 20\S+ \(whose it is, was not checked\)$/m);
  expect(receipt.stdout).toContain(`by ${anna} at 20`);
  const key = file("data/ledger-key/verifier.key");
  expect((await python(["receipt", file("receipt.json"), "--key", key])).code).toBe(0);
  expect(await mctl("audit", "export", file("ledger.jsonl"))).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/unchecked +1 signatures by keys that were not given/),
  });
  expect((await python(["export", file("ledger.jsonl"), "--key", key])).code).toBe(0);
  // Without what is personal, nothing tells who signed.
  const { requestSignature } = JSON.parse((await mctl("audit", "list", "--phase", "INTENT", "-o", "json")).stdout)
    .entries[0];
  expect(requestSignature).toContain(anna);
  await mctl("audit", "export", file("quiet.jsonl"), "--no-personal");
  expect(readFileSync(file("quiet.jsonl"), "utf8")).not.toContain(anna);
});

test("verify tells which entries whose key signed, and refuses the key of somebody else than the caller", async () => {
  const { issuer } = server.issuer;
  mkdirSync(file("operators"));
  writeFileSync(file("operators/anna"), `# anna's\n${issuer} anna ${anna}\n`);
  writeFileSync(file("theirs"), `${issuer} bob ${anna}\n`);
  const other = await onTerminal(["make-signing-key", file("unused.jwk"), "--name", "unused"]);
  writeFileSync(file("unused"), other.stdout);
  const key = file("data/ledger-key/verifier.key");
  const { entries } = JSON.parse((await mctl("audit", "list", "--phase", "INTENT", "-o", "json")).stdout);
  const [{ sequence }] = entries;
  const shown = new RegExp(`^signed +by ${anna.replaceAll("+", "\\+")}: 1 entries \\(${sequence}\\)$`, "m");
  for (const args of [[], ["--offline", file("ledger.jsonl")]]) {
    const by = (keys: string) => mctl("audit", "verify", ...args, "--operator-keys", file(keys));
    expect(await by("operators")).toMatchObject({ code: 0, stdout: expect.stringMatching(shown) });
    expect(await by("unused")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^unchecked +1 signatures by keys that were not given/m),
    });
    expect(await by("theirs")).toMatchObject({
      code: 9,
      stdout: "",
      stderr: expect.stringMatching(/NOT VERIFIED: entry \d+ is of anna, and signed by the key of bob/),
    });
  }
  // Asked without: what is personal does not even travel.
  expect((await mctl("audit", "verify")).stdout).toMatch(/^unchecked +1 signatures that are not told/m);
  expect((await mctl("audit", "verify", "--offline", file("quiet.jsonl"), "-o", "json")).stdout).toContain(
    '"signatures":{"checked":[],"unknown":0,"absent":1}',
  );
  const receipt = ["audit", "verify", "--receipt", file("receipt.json"), "--operator-keys"];
  expect((await mctl(...receipt, file("operators"))).stdout).toMatch(/^signed .*\(a key that was given as theirs\)$/m);
  expect(JSON.parse((await mctl(...receipt, file("operators"), "-o", "json")).stdout)).toMatchObject({
    signedBy: anna,
  });
  expect((await mctl(...receipt, file("theirs"))).code).toBe(9);

  const script = (what: string, keys: string) =>
    python([
      what,
      file(what === "export" ? "ledger.jsonl" : "receipt.json"),
      "--key",
      key,
      "--operator-keys",
      file(keys),
    ]);
  for (const what of ["export", "receipt"]) {
    const checked = JSON.parse((await script(what, "operators/anna")).stdout);
    expect(checked.signatures).toEqual({ checked: { [anna]: 1 }, unknown: 0, absent: 0 });
    expect(await script(what, "unused")).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/1 signatures are by/),
    });
    expect(await script(what, "theirs")).toMatchObject({ code: 1, stderr: expect.stringMatching(/key of bob/) });
  }
  writeFileSync(file("bad"), "anna+00000000\n");
  expect(await mctl(...receipt, file("bad"))).toMatchObject({ code: 2, stderr: expect.stringMatching(/bad: line 1:/) });
  expect(await mctl(...receipt, file("nowhere"))).toMatchObject({ code: 2, stderr: expect.stringMatching(/ENOENT/) });
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
