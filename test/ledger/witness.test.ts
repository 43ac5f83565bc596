import { generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import { rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { create, toJsonString } from "@bufbuild/protobuf";
import { expect, it, onTestFinished } from "vitest";
import { AuditReceiptSchema } from "../../gen/missioncontrol/v1/audit_proof_pb.ts";
import { openPublishers } from "../../src/ledger/publishers.ts";
import { type Checkpoint, parseCheckpoint } from "../../src/proof/checkpoint.ts";
import { cosignaturesOf } from "../../src/proof/cosignature.ts";
import { emptyRoot } from "../../src/proof/hash.ts";
import { LogKeys } from "../../src/proof/log-keys.ts";
import { verifyConsistency } from "../../src/proof/merkle.ts";
import { parseNote } from "../../src/proof/note.ts";
import { decodeEntry, verifyReceipt } from "../../src/proof/receipt.ts";
import { verifierKey } from "../../src/proof/verifier-key.ts";
import { python } from "../proof/python.ts";
import { ledgerDirectory } from "./ledger-directory.ts";

/** A witness as C2SP tlog-witness and tlog-cosignature describe it; `answer` says what it answers beside its signature. */
async function startWitness(answer = (line: string) => line) {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
  const key = verifierKey("witness.example.com/w1", raw, 4);
  const cosign = (text: string) => {
    const time = Buffer.alloc(8);
    time.writeBigUInt64BE(1_700_000_000n);
    const signature = sign(null, Buffer.from(`cosignature/v1\ntime 1700000000\n${text}`), privateKey);
    return `— ${key.name} ${Buffer.concat([Buffer.from(key.id, "hex"), time, signature]).toString("base64")}\n`;
  };
  let seen: Checkpoint = { origin: "", size: 0, root: emptyRoot };
  const server = createServer(async (request, response) => {
    const [head = "", ...rest] = (await text(request)).split("\n\n");
    const [old = "", ...proof] = head.split("\n");
    const note = parseNote(rest.join("\n\n"));
    const checkpoint = parseCheckpoint(note.text);
    if (old !== `old ${seen.size}`)
      return response.writeHead(409, { "content-type": "text/x.tlog.size" }).end(`${seen.size}\n`);
    const hashes = proof.filter((line) => line !== "").map((line) => new Uint8Array(Buffer.from(line, "base64")));
    try {
      verifyConsistency(seen, checkpoint, hashes);
    } catch {
      return response.writeHead(422).end();
    }
    seen = checkpoint;
    return response.writeHead(200).end(answer(cosign(note.text)));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, size: () => seen.size, key };
}

it("a witness is given every checkpoint with its proof, and tells where the ledger was rolled back", async () => {
  const witness = await startWitness();
  const publishers = () => openPublishers({ witnesses: [witness.url] }, process.stdout);
  const directory = ledgerDirectory();
  const first = await directory.open({ publishers: publishers() });
  await first.append(5);
  await first.proofs.checkpoint(0);
  await first.append(2);
  await first.close();
  expect(witness.size()).toBe(7);
  const restore = directory.backUp();

  // One that does not know any more what the witness has seen asks it.
  const second = await directory.open({ publishers: publishers() });
  await second.append(3);
  await second.close();
  expect(witness.size()).toBe(10);

  // All that is on this machine is rolled back; the witness is not.
  restore();
  rmSync(dirname(directory.checkpointPath), { recursive: true });
  const third = await directory.open({ publishers: publishers() });
  await expect
    .poll(() => third.proofs.fault?.message, { timeout: 10_000 })
    .toMatch(/rolled back: witness 127\..* has seen 10 entries, and it has 7 now/);
  await expect(third.ledger.append({ action: "runtime.pause" })).rejects.toMatchObject({ reason: "LEDGER_TAMPERED" });
  await third.close();

  // Somebody takes the loss upon themselves: it goes on, and the witness is told of for as long as it knows more.
  const fourth = await directory.open({ publishers: publishers(), acknowledge: "the disk died" });
  await expect.poll(() => fourth.proofs.checkpointFault, { timeout: 10_000 }).toMatch(/rolled back: witness/);
  await fourth.append(1);
  expect(fourth.proofs.fault).toBeUndefined();
  await fourth.close();
});

it("what a witness signed is kept with the checkpoint, and both verifiers hold it against the witness' key", async () => {
  const witness = await startWitness();
  const other = await startWitness();
  const publishers = openPublishers({ witnesses: [witness.url, other.url] }, process.stdout);
  const directory = ledgerDirectory();
  const first = await directory.open({ publishers });
  await first.append(3);
  const { checkpoint } = await first.proofs.checkpoint(0);
  const keys = [witness.key, other.key];
  const times = cosignaturesOf(checkpoint.note, keys).map(({ time }) => time.toISOString());
  expect(times).toEqual(["2023-11-14T22:13:20.000Z", "2023-11-14T22:13:20.000Z"]);
  const [stored] = await first.store.storedEntries(1n, 1);
  const { entry, proof, checkpoint: covering } = await first.proofs.prove(decodeEntry(stored?.bytes as never).entryId);
  const receipt = create(AuditReceiptSchema, {
    entryId: decodeEntry(entry.bytes).entryId,
    entry: entry.bytes,
    leafIndex: entry.sequence - 1n,
    inclusionProof: [...proof],
    checkpoint: covering.note,
  });
  await first.close();

  const stranger = await startWitness();
  const verified = verifyReceipt(receipt, directory.key, keys);
  expect(verified.cosignatures.map(({ key }) => key.text)).toEqual(keys.map(({ text }) => text));
  expect(() => verifyReceipt(receipt, directory.key, [stranger.key])).toThrow(/no cosignature of the witness/);
  const forged = { ...receipt, checkpoint: resigned(receipt.checkpoint, witness.key.id) };
  expect(() => verifyReceipt(create(AuditReceiptSchema, forged), directory.key, keys)).toThrow(/witness .* is wrong/);

  const path = join(directory.path, "receipt.json");
  const script = async (given: typeof receipt, ...witnesses: string[]) => {
    writeFileSync(path, toJsonString(AuditReceiptSchema, given));
    const args = witnesses.flatMap((key) => ["--witness-key", key]);
    return python(["receipt", path, "--key", directory.key.text, ...args]);
  };
  const both = await script(receipt, witness.key.text, other.key.text);
  expect(JSON.parse(both.stdout)).toMatchObject({ verified: true, cosignedBy: keys.map(({ name }) => name) });
  for (const [given, key] of [
    [receipt, stranger.key.text],
    [create(AuditReceiptSchema, forged), witness.key.text],
  ] as const) {
    expect(await script(given, key)).toMatchObject({ code: 1, stderr: expect.stringMatching(/witness/) });
  }
  // Who does not ask for witnesses is not kept from verifying by theirs.
  expect((await script(create(AuditReceiptSchema, forged))).code).toBe(0);

  // It is there after a restart, without the witnesses, and once only where they sign the same again.
  const again = await directory.open({ publishers });
  const kept = (await again.proofs.checkpoint(0)).checkpoint;
  expect(cosignaturesOf(kept.note, keys)).toHaveLength(2);
  await again.close();
  const alone = await directory.open();
  const { note } = (await alone.proofs.checkpoint(0)).checkpoint;
  expect(cosignaturesOf(note, keys)).toHaveLength(2);
  expect(parseNote(note).signatures).toHaveLength(3);
  // With a new key comes a new checkpoint, and no old one is given out any more.
  await alone.proofs.rotateKey();
  expect(parseNote((await alone.proofs.checkpoint(0)).checkpoint.note).signatures).toHaveLength(2);
  await alone.close();
});

/** The note with another signature by the key of that id. */
function resigned(note: string, keyId: string): string {
  return note.replace(/^— (\S+) (\S+)$/gm, (line, name: string, base64: string) => {
    const bytes = Buffer.from(base64, "base64");
    if (bytes.subarray(0, 4).toString("hex") !== keyId) return line;
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    return `— ${name} ${bytes.toString("base64")}`;
  });
}

it("a witness that answers in the log's own name, or what is no signature, spoils nothing", async () => {
  let origin = "";
  const witness = await startWitness(
    (line) => `nonsense\n— ${origin} AAAAAAAAAAAA\n— x\n${"— y ".padEnd(9_000, "A")}\n${line}`,
  );
  const directory = ledgerDirectory();
  const open = await directory.open({ publishers: openPublishers({ witnesses: [witness.url] }, process.stdout) });
  origin = directory.key.name;
  await open.append(3);
  const { note } = (await open.proofs.checkpoint(0)).checkpoint;
  expect(new LogKeys(directory.key).open(note).size).toBe(3);
  expect(parseNote(note).signatures).toHaveLength(1);
  await open.close();
});

it("a witness that is not there, or takes nothing, is told, and holds nothing up", async () => {
  const directory = ledgerDirectory();
  const open = await directory.open({
    publishers: openPublishers({ witnesses: ["http://127.0.0.1:1/"] }, process.stdout),
  });
  await open.append(1);
  await open.proofs.checkpoint(0);
  await expect.poll(() => open.proofs.checkpointFault).toMatch(/cannot be published \(witness 127\.0\.0\.1:1\)/);
  await open.append(1);
  expect((await open.proofs.checkpoint(0)).checkpoint.size).toBe(2);
  await open.close();
});

it("checkpoints go to standard output as lines of JSON, where that is asked for", async () => {
  const stdout = new PassThrough();
  const directory = ledgerDirectory();
  const open = await directory.open({ publishers: openPublishers({ toStdout: true }, stdout) });
  await open.append(4);
  await open.close();
  const line = JSON.parse(String(stdout.read()).trimEnd().split("\n").at(-1) ?? "");
  expect(line).toMatchObject({ ledgerSize: 4, checkpoint: expect.stringMatching(/^mission-control\/\w+\n4\n/) });
});
