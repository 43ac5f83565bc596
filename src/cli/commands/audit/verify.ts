import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fromJsonString } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { type Command, Option } from "commander";
import { ErrorInfoSchema } from "../../../../gen/google/rpc/error_details_pb.ts";
import { type AuditReceipt, AuditReceiptSchema } from "../../../../gen/missioncontrol/v1/audit_proof_pb.ts";
import type { Checkpoint } from "../../../proof/checkpoint.ts";
import { cosignaturesOf } from "../../../proof/cosignature.ts";
import { ExportVerifier } from "../../../proof/export.ts";
import { LogKeys } from "../../../proof/log-keys.ts";
import { verifyConsistency } from "../../../proof/merkle.ts";
import { ProofError } from "../../../proof/proof-error.ts";
import { keep } from "../../audit/keep.ts";
import { linesOf } from "../../audit/lines.ts";
import { readOperatorKeys } from "../../audit/operator-keys.ts";
import { exportOf } from "../../audit/stream.ts";
import { publishedCheckpoint, readCheckpoint, readWitnessKey, requiredTrust, type Trust } from "../../audit/trust.ts";
import { usageFailure } from "../../failure.ts";
import { examples, list, nonEmpty, sequence } from "../../options.ts";
import { startProgress } from "../../progress.ts";
import { type Flags, type Host, terminalOf, withSession } from "../../session.ts";
import { outputOf } from "../../settings.ts";
import { count, entriesProgress } from "../../view/entries-progress.ts";
import { type KeysBeside, receiptJson, renderReceipt } from "../../view/entry-receipt.ts";
import { renderVerified, verifiedJson } from "../../view/verified.ts";

interface VerifyFlags extends Flags {
  readonly offline?: string;
  readonly receipt?: string;
  readonly key?: string;
  readonly checkpoint?: string[];
  readonly remember?: string;
  readonly after: number;
  readonly quick?: boolean;
  readonly operatorKeys?: string;
  readonly witnessKey?: string[];
}

export function auditVerify(audit: Command, host: Host): void {
  audit
    .command("verify")
    .description("Prove that the ledger is whole: every entry there, none edited, nothing rolled back.")
    .addOption(
      new Option(
        "--offline <file>",
        "an export (JSONL or CSV) instead of the server: nothing is asked of anybody",
      ).conflicts(["receipt", "remember", "quick"]),
    )
    .addOption(
      new Option("--receipt <file>", "one entry's receipt, as mctl audit receipt wrote it, offline as well").conflicts([
        "checkpoint",
        "remember",
        "after",
        "quick",
      ]),
    )
    .option("--key <key>", "the log's public key, or a file with it (default: the one in the data directory)", nonEmpty)
    .option(
      "--checkpoint <files>",
      "checkpoints that were seen before: the ledger has to go on from each (default: what is published in the data directory)",
      list(nonEmpty),
    )
    .option(
      "--remember <file>",
      "like --checkpoint where the file is there; the checkpoint that was verified replaces it",
    )
    .option("--after <sequence>", "the export was asked to begin behind this entry", sequence, 0)
    .addOption(
      new Option(
        "--operator-keys <path>",
        'operators\' public keys, a file or a folder of them, on each line KEY or "ISSUER SUBJECT KEY": whose signatures are theirs',
      ).conflicts("quick"),
    )
    .option(
      "--witness-key <keys>",
      "witnesses' public keys, or files with them: each has to have signed the checkpoint as well",
      list(nonEmpty),
    )
    .option("--quick", "only that the ledger grew since the newest of the checkpoints: a few hashes, no entries")
    .addHelpText(
      "after",
      examples(
        "mctl audit verify",
        "mctl audit verify --key verifier.key --remember last-seen",
        "mctl audit verify --offline ledger.jsonl --key verifier.key",
        "mctl audit verify --receipt receipt.json -o json",
        "mctl audit verify --operator-keys operators.keys",
      ),
    )
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<VerifyFlags>();
      const trust = requiredTrust(flags.key, host, flags);
      const { offline, receipt } = flags;
      if (receipt !== undefined) verifyReceiptFile(resolve(host.cwd, receipt), trust, host, flags);
      else if (offline !== undefined) await verifyFile(resolve(host.cwd, offline), trust, host, flags);
      else if (flags.quick) await verifyGrowth(trust, host, flags);
      else await verifyServer(trust, host, flags);
    });
}

/** What whoever verifies knows beside the log's key. */
function keysBeside(host: Host, { operatorKeys: path, witnessKey }: VerifyFlags): KeysBeside {
  return {
    operatorKeys: path === undefined ? undefined : readOperatorKeys(resolve(host.cwd, path)),
    witnesses: witnessKey?.map((given) => readWitnessKey(given, host)),
  };
}

async function verifyServer(trust: Trust, host: Host, flags: VerifyFlags): Promise<void> {
  const seen = seenBefore(trust, host, flags);
  const beside = keysBeside(host, flags);
  await withSession(host, flags, async (session) => {
    const { auditLog, terminal, call, settings } = session;
    const { treeSize } = await auditLog.getCheckpoint({}, call());
    const verifier = new ExportVerifier({ trusted: trust.key, seen, after: flags.after, ...beside });
    const progress = startProgress(terminal.notes, entriesProgress(terminal, "verified"));
    let note = "";
    try {
      // Signatures are personal values: they come only where they are looked at.
      const options = { after: flags.after, bytesOnly: beside.operatorKeys === undefined };
      for await (const message of exportOf(session, options)) {
        verifier.take(message);
        if (message.line.case === "end") note = message.line.value.checkpoint;
        progress.show({ done: verifier.sequence, of: Number(treeSize) });
      }
    } finally {
      progress.end();
    }
    const verified = verifier.finish();
    remember(note, host, flags);
    if (settings.output === "json") terminal.write(verifiedJson(verified, trust.key));
    else terminal.write(renderVerified(verified, trust.key, terminal));
    return undefined;
  });
}

async function verifyFile(path: string, trust: Trust, host: Host, flags: VerifyFlags): Promise<void> {
  const terminal = terminalOf(host, flags);
  const seen = (flags.checkpoint ?? []).map((file) => readCheckpoint(resolve(host.cwd, file)));
  const verifier = new ExportVerifier({ trusted: trust.key, seen, after: flags.after, ...keysBeside(host, flags) });
  const progress = startProgress(terminal.notes, entriesProgress(terminal, "verified"));
  try {
    for await (const { text, isWhole } of linesOf(path)) {
      if (!isWhole) throw new ProofError(`the export was cut off behind entry ${verifier.sequence}`);
      verifier.line(text);
      progress.show({ done: verifier.sequence, of: undefined });
    }
  } catch (error) {
    throw unreadable(error, path);
  } finally {
    progress.end();
  }
  const verified = verifier.finish();
  if (outputOf(flags, host) === "json") terminal.write(verifiedJson(verified, trust.key));
  else terminal.write(renderVerified(verified, trust.key, terminal));
}

/** By a consistency proof: the newest checkpoint seen before, and the server's own of now. */
async function verifyGrowth(trust: Trust, host: Host, flags: VerifyFlags): Promise<void> {
  const [seen] = seenBefore(trust, host, flags).toSorted((a, b) => b.size - a.size);
  if (seen === undefined) throw usageFailure("--quick compares with a checkpoint: name one with --checkpoint");
  await withSession(host, flags, async ({ auditLog, terminal, call, settings }) => {
    const answer = await auditLog.getCheckpoint({ consistentWith: BigInt(seen.size) }, call()).catch(aheadIsNoProof);
    const checkpoint = new LogKeys(trust.key, answer.keyRotations).open(answer.checkpoint);
    if (seen.origin !== checkpoint.origin) throw new ProofError(`the checkpoint is of another log, "${seen.origin}"`);
    verifyConsistency(seen, checkpoint, answer.consistencyProof);
    const { witnesses = [] } = keysBeside(host, flags);
    const cosignatures = cosignaturesOf(answer.checkpoint, witnesses);
    remember(answer.checkpoint, host, flags);
    const { origin, size } = checkpoint;
    const json = {
      verified: true,
      origin,
      treeSize: size,
      consistentWith: seen.size,
      cosignatures: cosignatures.length,
    };
    if (settings.output === "json") terminal.write(`${JSON.stringify(json)}\n`);
    else {
      const grown = `${origin} grew from ${count(seen.size)} entries to ${count(size)}, and lost or changed none`;
      terminal.write(`${terminal.paint("VERIFIED", ["bold", "green"])}  ${grown}\n`);
    }
    return undefined;
  });
}

/** What the server never was as large as what was seen of it: that is a finding, and no failure to look. */
function aheadIsNoProof(error: unknown): never {
  const refusal = ConnectError.from(error);
  const isAhead = refusal.findDetails(ErrorInfoSchema)[0]?.reason === "CHECKPOINT_AHEAD";
  throw isAhead ? new ProofError(refusal.rawMessage) : error;
}

function verifyReceiptFile(path: string, trust: Trust, host: Host, flags: VerifyFlags): void {
  const terminal = terminalOf(host, flags);
  let receipt: AuditReceipt;
  try {
    receipt = fromJsonString(AuditReceiptSchema, readFileSync(path, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== undefined) throw unreadable(error, path);
    throw new ProofError(`${path} is not a receipt: ${(error as Error).message}`);
  }
  const beside = keysBeside(host, flags);
  if (outputOf(flags, host) === "json") terminal.write(receiptJson(receipt, trust.key, beside));
  else terminal.write(renderReceipt(receipt, trust.key, terminal, beside));
}

function seenBefore(trust: Trust, host: Host, { checkpoint, remember: file }: VerifyFlags): Checkpoint[] {
  const named = (checkpoint ?? []).map((path) => readCheckpoint(resolve(host.cwd, path)));
  const published = checkpoint === undefined ? publishedCheckpoint(trust) : undefined;
  const path = file === undefined ? undefined : resolve(host.cwd, file);
  const remembered = path !== undefined && existsSync(path) ? [readCheckpoint(path)] : [];
  return [...named, ...(published === undefined ? [] : [published]), ...remembered];
}

function remember(note: string, host: Host, { remember: file }: VerifyFlags): void {
  if (file !== undefined) keep("the checkpoint", resolve(host.cwd, file), note);
}

function unreadable(error: unknown, path: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === undefined || error instanceof ProofError ? error : usageFailure(`cannot read ${path}: ${message}`);
}
