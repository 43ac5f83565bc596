import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname } from "node:path";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { expect, it, onTestFinished } from "vitest";
import { openPublishers } from "../../src/ledger/publishers.ts";
import { type Checkpoint, parseCheckpoint } from "../../src/proof/checkpoint.ts";
import { emptyRoot } from "../../src/proof/hash.ts";
import { verifyConsistency } from "../../src/proof/merkle.ts";
import { parseNote } from "../../src/proof/note.ts";
import { ledgerDirectory } from "./ledger-directory.ts";

/** A witness as C2SP tlog-witness describes it, without its own signature. */
async function startWitness() {
  let seen: Checkpoint = { origin: "", size: 0, root: emptyRoot };
  const server = createServer(async (request, response) => {
    const [head = "", ...rest] = (await text(request)).split("\n\n");
    const [old = "", ...proof] = head.split("\n");
    const checkpoint = parseCheckpoint(parseNote(rest.join("\n\n")).text);
    if (old !== `old ${seen.size}`)
      return response.writeHead(409, { "content-type": "text/x.tlog.size" }).end(`${seen.size}\n`);
    const hashes = proof.filter((line) => line !== "").map((line) => new Uint8Array(Buffer.from(line, "base64")));
    try {
      verifyConsistency(seen, checkpoint, hashes);
    } catch {
      return response.writeHead(422).end();
    }
    seen = checkpoint;
    return response.writeHead(200).end("— witness AAAAAAAA\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, size: () => seen.size };
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
