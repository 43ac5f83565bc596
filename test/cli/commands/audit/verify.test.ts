import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fromJson } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ExportAuditEntriesResponseSchema } from "../../../../gen/missioncontrol/v1/audit_log_pb.ts";
import { lineText } from "../../../../src/proof/export.ts";
import { decodeEntry } from "../../../../src/proof/receipt.ts";
import { verifierKey } from "../../../../src/proof/verifier-key.ts";
import { createServeDirectory, type ServeDirectory } from "../../../fixture/serve-process.ts";
import { python } from "../../../proof/python.ts";
import { onTerminal, type Seen } from "../../console.ts";
import { mctl, temporaryFolder } from "../../run.ts";

// One server for all of them, whose ledger only grows.
let server: ServeDirectory;
let audit: (...args: string[]) => Promise<Seen>;
let where: string[];
let key: string;

beforeAll(async () => {
  server = await createServeDirectory();
  await server.start(server.config());
  const token = await server.issuer.token({ subject: "anna", roles: ["auditor", "sre_admin"] });
  writeFileSync(join(server.dir, "token"), token);
  const url = `http://127.0.0.1:${server.port}`;
  where = ["--server", url, "--token-file", join(server.dir, "token"), "--data-dir", join(server.dir, "data")];
  audit = (...args) => onTerminal(["audit", ...args, ...where], undefined, 120);
  key = join(server.dir, "data/ledger-key/verifier.key");
  for (let n = 0; n < 5; n++) await fetch(`http://127.0.0.1:${server.port}/v1/workflows`);
});
afterAll(() => server.remove());

/** Without a server, from an empty folder. */
const offline = (...args: string[]) => onTerminal(["audit", "verify", "--key", key, ...args], undefined, 120);

test("verify proves the whole ledger, by the key and the checkpoint of the data directory", async () => {
  const { code, stdout, stderr } = await audit("verify");
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/\d+\/\d+ entries verified/) });
  expect(stdout).toMatch(/^VERIFIED {2}\d+ entries of mission-control\/\w+\ncheckpoint +\d+ entries, root \S+\nkey /);
  const json = JSON.parse((await audit("verify", "-o", "json")).stdout);
  expect(json).toMatchObject({ verified: true, after: 0, prunings: [], acknowledgements: [], notCompared: [] });
  expect(json.entries).toBe(json.treeSize);
});

test("what was verified is remembered, and a ledger that lost it since is told", async () => {
  const last = join(server.dir, "last-seen");
  expect((await audit("verify", "--remember", last)).code).toBe(0);
  const note = readFileSync(last, "utf8");
  expect((await audit("verify", "--remember", last)).code).toBe(0);
  expect(Number(readFileSync(last, "utf8").split("\n")[1])).toBeGreaterThan(Number(note.split("\n")[1]));
  const quick = await audit("verify", "--quick", "--checkpoint", last);
  expect(quick).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/grew from \d+ entries to \d+, and lost or changed none/),
  });

  const other = note.replace(/\n[^\n]{44}\n/, `\n${"A".repeat(43)}=\n`);
  writeFileSync(join(server.dir, "other"), other);
  for (const args of [
    ["--checkpoint", join(server.dir, "other")],
    ["--quick", "--checkpoint", join(server.dir, "other")],
  ]) {
    expect(await audit("verify", ...args)).toMatchObject({
      code: 9,
      stdout: "",
      stderr: expect.stringMatching(/NOT VERIFIED: /),
    });
  }
  writeFileSync(join(server.dir, "ahead"), note.replace(/\n\d+\n/, "\n100000\n"));
  expect(await audit("verify", "--checkpoint", join(server.dir, "ahead"))).toMatchObject({
    code: 9,
    stderr: expect.stringMatching(/rolled back: it had 100000/),
  });
  expect(await audit("verify", "--quick", "--checkpoint", join(server.dir, "ahead"))).toMatchObject({
    code: 9,
    stderr: expect.stringMatching(/NOT VERIFIED: .*never had 100000/),
  });
});

describe.each(["jsonl", "csv"])("an export as %s", (format) => {
  test("verifies offline with the key alone, tells who did what, and goes on where it was interrupted", async () => {
    const file = join(server.dir, `ledger.${format}`);
    expect(await audit("export", file)).toMatchObject({ code: 0, stdout: expect.stringMatching(/^VERIFIED /) });
    expect(readFileSync(file, "utf8")).toContain("anna");
    expect(await offline("--offline", file)).toMatchObject({ code: 0, stdout: expect.stringMatching(/^VERIFIED /) });
    expect(await audit("export", file)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/is a complete export/),
    });

    // In the middle of a line.
    truncateSync(file, Math.round(readFileSync(file).length * 0.6));
    expect(await offline("--offline", file)).toMatchObject({
      code: 9,
      stderr: expect.stringMatching(/cut off behind entry \d+/),
    });
    expect((await audit("export", file)).code).toBe(0);
    const { code, stdout } = await offline("--offline", file, "-o", "json");
    expect(code).toBe(0);
    const { entries, treeSize } = JSON.parse(stdout);
    expect(entries).toBe(treeSize);
    const other = await python(["export", file, "--key", key]);
    expect(other.code).toBe(0);
    expect(JSON.parse(other.stdout)).toMatchObject({ verified: true, treeSize, entries });
    expect(readFileSync(file, "utf8").split("\n").length).toBe(entries + (format === "csv" ? 4 : 3));
  });
});

test("an export goes to standard output as well, with or without what tells who somebody is", async () => {
  const { code, stdout } = await mctl(["audit", "export", "--no-personal", ...where]);
  expect(code).toBe(0);
  expect(stdout).not.toContain("anna");
  const file = join(server.dir, "quiet.jsonl");
  writeFileSync(file, stdout);
  expect((await offline("--offline", file)).code).toBe(0);
  writeFileSync(file, stdout.replace('"phase":"DENIED"', '"phase":"SYSTEM"'));
  expect(await offline("--offline", file, "-o", "json")).toMatchObject({
    code: 9,
    stdout: "",
    stderr: expect.stringMatching(/NOT VERIFIED: the line behind entry \d+ was edited/),
  });
});

test("a receipt proves one entry, offline, and what was changed in it proves nothing", async () => {
  const { entries } = JSON.parse((await audit("list", "--phase", "DENIED", "-o", "json")).stdout);
  const file = join(server.dir, "receipt.json");
  const receipt = await audit("receipt", entries[0].entryId, "--to", file);
  expect(receipt).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^VERIFIED .*\n[\s\S]*result +TOKEN_MISSING/),
  });
  const verified = await offline("--receipt", file, "-o", "json");
  expect(JSON.parse(verified.stdout)).toMatchObject({ verified: true, entry: { entryId: entries[0].entryId } });
  expect((await python(["receipt", file, "--key", key])).code).toBe(0);
  writeFileSync(file, readFileSync(file, "utf8").replace(/"leafIndex":"\d+"/, '"leafIndex":"0"'));
  expect((await offline("--receipt", file)).code).toBe(9);
  expect((await python(["receipt", file, "--key", key])).code).toBe(1);
  expect(await audit("receipt", "ae_none")).toMatchObject({
    code: 3,
    stderr: expect.stringMatching(/ENTRY_NOT_FOUND/),
  });
});

test("a checkpoint that a witness should have signed, and has not, does not verify", async () => {
  const witness = verifierKey("witness.example.com", Buffer.alloc(32, 7), 4).text;
  const file = join(server.dir, "unwitnessed.jsonl");
  await audit("export", file);
  const last = join(server.dir, "seen-before");
  await audit("verify", "--remember", last);
  const refused = {
    code: 9,
    stdout: "",
    stderr: expect.stringMatching(
      /NOT VERIFIED: the checkpoint has no cosignature of the witness witness\.example\.com/,
    ),
  };
  expect(await audit("verify", "--witness-key", witness)).toMatchObject(refused);
  expect(await audit("verify", "--quick", "--checkpoint", last, "--witness-key", witness)).toMatchObject(refused);
  writeFileSync(join(server.dir, "witness.key"), witness);
  const named = ["--witness-key", join(server.dir, "witness.key")];
  expect(await offline("--offline", file, ...named)).toMatchObject(refused);
  expect((await python(["export", file, "--key", key, "--witness-key", witness])).code).toBe(1);
  expect(await offline("--offline", file, "--witness-key", readFileSync(key, "utf8").trim())).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--witness-key: the verifier key is not one of Ed25519 with signatures of type 4/),
  });
});

test("the key is rotated: who trusts the old one follows, offline too", async () => {
  const old = join(server.dir, "old.key");
  writeFileSync(old, readFileSync(key));
  const rotated = await audit("rotate-key", "--reason", "yearly", "--to", join(server.dir, "new.key"));
  expect(rotated).toMatchObject({ code: 0, stdout: expect.stringMatching(/^new key +mission-control\//) });
  expect(readFileSync(join(server.dir, "new.key"), "utf8")).toBe(readFileSync(key, "utf8"));
  expect(await audit("rotate-key", "--reason", "yearly", "--to", join(server.dir, "nowhere", "new.key"))).toMatchObject(
    {
      code: 2,
      stdout: expect.stringMatching(/^new key +mission-control\//),
      stderr: expect.stringMatching(/cannot write the new key/),
    },
  );
  const file = join(server.dir, "rotated.jsonl");
  for (const by of [old, key]) {
    expect((await audit("verify", "--key", by)).code).toBe(0);
  }
  await audit("export", file);
  expect((await mctl(["audit", "verify", "--offline", file, "--key", old])).code).toBe(0);
  expect((await offline("--offline", file)).code).toBe(0);
  for (const by of [old, key]) expect((await python(["export", file, "--key", by])).code).toBe(0);
});

test("how many personal values are missing is told, by both verifiers", async () => {
  const file = join(server.dir, "told.jsonl");
  await audit("export", file);
  const verified = async () => {
    const ours = JSON.parse((await offline("--offline", file, "-o", "json")).stdout).personal;
    expect(JSON.parse((await python(["export", file, "--key", key])).stdout).personal).toEqual(ours);
    return ours;
  };
  const before = await verified();
  expect(before).toEqual({ told: expect.any(Number), missing: 0 });
  expect((await offline("--offline", file)).stdout).not.toContain("missing");
  // Somebody with the database in hand takes away who and why.
  const lines = readFileSync(file, "utf8").split("\n");
  const at = lines.findIndex((line) => line.includes('"disclosures":[') && line.includes("anna"));
  const { entry } = JSON.parse(lines[at] ?? "");
  const bare = fromJson(ExportAuditEntriesResponseSchema, { entry: { sequence: entry.sequence, bytes: entry.bytes } });
  if (bare.line.case !== "entry") throw new Error("no entry");
  bare.line.value.entry = decodeEntry(bare.line.value.bytes);
  writeFileSync(file, lines.with(at, lineText(bare)).join("\n"));
  const gone = entry.disclosures.length;
  expect(await verified()).toEqual({ told: before.told - gone, missing: gone });
  expect((await offline("--offline", file)).stdout).toMatch(
    new RegExp(`^missing +${gone} of \\d+ personal values \\(erased: `, "m"),
  );
});

test("what is missing or cannot be is said, with what to do", async () => {
  const cwd = temporaryFolder();
  expect(await onTerminal(["audit", "verify", "--offline", "x"])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--key names the log's public key/),
  });
  for (const beside of [["--remember", "x"], ["--quick"], ["--receipt", "x"]]) {
    expect(await offline("--offline", "x", ...beside)).toMatchObject({
      stdout: "",
      stderr: expect.stringMatching(/cannot be used with option/),
    });
  }
  expect(await offline("--receipt", "x", "--checkpoint", "y")).toMatchObject({
    stdout: "",
    stderr: expect.stringMatching(/cannot be used with option/),
  });
  expect(await offline("--offline", "nowhere.jsonl")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/cannot read .*nowhere\.jsonl/),
  });
  expect(await onTerminal(["audit", "verify", "--key", "a+00000000+AAAA"])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--key: the verifier key/),
  });
  writeFileSync(join(cwd, "text"), "no export\n");
  expect(await offline("--offline", join(cwd, "text"))).toMatchObject({
    code: 9,
    stderr: expect.stringMatching(/the first line is not a line of an export/),
  });
  expect(await audit("export", join(cwd, "text"))).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/is not an export that was interrupted/),
  });
});
