import { fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import {
  type AuditEntry,
  type ExportAuditEntriesResponse,
  ExportAuditEntriesResponseSchema,
} from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { ExportBegin, ExportEnd } from "../../gen/missioncontrol/v1/audit_proof_pb.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { type Cosignature, cosignaturesOf } from "./cosignature.ts";
import { csvData, csvHeader, csvRow } from "./csv.ts";
import { leafHash, sameHash } from "./hash.ts";
import { LogKeys } from "./log-keys.ts";
import { type Acknowledgement, type Pruning, parseAcknowledgement, parsePruning } from "./log-notes.ts";
import { CompactRange } from "./merkle.ts";
import { NotesOfEntries } from "./notes-of-entries.ts";
import { type KnownKey, OperatorSignatures, type SignatureReport } from "./operator-signatures.ts";
import { ProofError } from "./proof-error.ts";
import { readEntry } from "./receipt.ts";
import type { VerifierKey } from "./verifier-key.ts";

/** Characters of one line: an entry is bounded far below that. */
const maxLine = 1 << 20;

/** What an export has to be. */
export interface ExportExpectation {
  /** The log's key, or an earlier one. */
  readonly trusted: VerifierKey;
  /** Checkpoints of the same log that were seen before: the export has to go on from each. */
  readonly seen?: readonly Checkpoint[];
  /** The sequence that the export was asked to begin behind; by default it has to begin with the ledger. */
  readonly after?: number;
  /** Operators' keys, to hold their signatures against. */
  readonly operatorKeys?: readonly KnownKey[] | undefined;
  /** Witnesses that have to have signed the checkpoint. */
  readonly witnesses?: readonly VerifierKey[] | undefined;
}

/** What was verified. */
export interface VerifiedExport {
  /** The checkpoint that covers it. */
  readonly checkpoint: Checkpoint;
  /** The sequence that the entries come behind: what is before was pruned, or not asked for. */
  readonly after: number;
  /** How many entries it has. */
  readonly entries: number;
  /** How many personal values came with them, and how many did not though they commit to one: erased, left out, or deleted. */
  readonly personal: { readonly told: number; readonly missing: number };
  /** What their callers signed. */
  readonly signatures: SignatureReport;
  /** Of the witnesses that had to have signed. */
  readonly cosignatures: readonly Cosignature[];
  readonly prunings: readonly Pruning[];
  readonly acknowledgements: readonly Acknowledgement[];
  /** Checkpoints seen before which are of a tree smaller than what the export begins with: it says nothing about them. */
  readonly notCompared: readonly Checkpoint[];
}

/** Verifies an export message by message, in memory that does not grow with it. Every method throws ProofError at once. */
export class ExportVerifier {
  readonly #expected: ExportExpectation;
  /** Those that were seen before and whose size is not reached yet, the smallest first. */
  readonly #ahead: Checkpoint[];
  readonly #notCompared: Checkpoint[] = [];
  readonly #notes = new NotesOfEntries();
  #isCsv = false;
  readonly #signatures: OperatorSignatures;
  #told = 0;
  #committed = 0;
  #begin: ExportBegin | undefined;
  #range = new CompactRange();
  #beginRoot = this.#range.root();
  #end: ExportEnd | undefined;

  constructor(expected: ExportExpectation) {
    this.#expected = expected;
    this.#signatures = new OperatorSignatures(expected.operatorKeys);
    this.#ahead = [...(expected.seen ?? [])].sort((a, b) => a.size - b.size);
  }

  /** Whether it begins as an export does. */
  get isBegun(): boolean {
    return this.#begin !== undefined;
  }

  /** Whether it has its end. */
  get isEnded(): boolean {
    return this.#end !== undefined;
  }

  /** Whether its lines are CSV. */
  get isCsv(): boolean {
    return this.#isCsv;
  }

  /** The last sequence that was taken. */
  get sequence(): number {
    return this.#range.size;
  }

  /** Takes the next line of an export's file, JSONL or CSV as the first one says; returns its entry, if it is one. */
  line(text: string): AuditEntry | undefined {
    if (text.length > maxLine) throw new ProofError(`${this.#place()} is too long`);
    if (text === csvHeader && this.#begin === undefined && !this.#isCsv) {
      this.#isCsv = true;
      return undefined;
    }
    const { message, isReadable } = parseLine(this.#isCsv ? csvData(text) : text, this.#place());
    const entry = this.take(message);
    // The line is written anew from its bytes: nothing else may stand in it, readable or not, and in no other spelling.
    const { line } = message;
    if (isReadable && entry !== undefined && line.case === "entry") line.value.entry = entry;
    if (this.#written(message, entry) !== text)
      throw new ProofError(`${this.#place()} was edited: it is not what its bytes say`);
    return entry;
  }

  /** Takes the next message; returns its entry, if it is one. */
  take({ line }: ExportAuditEntriesResponse): AuditEntry | undefined {
    if (this.#end !== undefined) throw new ProofError("something stands behind the checkpoint that ends the export");
    if (this.#begin === undefined) {
      if (line.case !== "begin") throw new ProofError("this is not an export from its beginning");
      this.#takeBegin(line.value);
      return undefined;
    }
    if (line.case === "end") {
      this.#end = line.value;
      return undefined;
    }
    if (line.case !== "entry") throw new ProofError(`${this.#place()} is neither an entry nor the end`);
    const entry = readEntry(line.value.bytes, line.value.disclosures);
    const expected = BigInt(this.#range.size + 1);
    if (entry.sequence !== expected || line.value.sequence !== expected) {
      throw new ProofError(`entry ${entry.sequence} stands where entry ${expected} should be`);
    }
    this.#range.append(leafHash(line.value.bytes));
    this.#compare();
    this.#notes.take(entry);
    this.#signatures.take(entry);
    this.#told += line.value.disclosures.length;
    this.#committed += entry.commitments.length;
    return entry;
  }

  /** The export has no more lines. */
  finish(): VerifiedExport {
    const [begin, end] = [this.#begin, this.#end];
    if (begin === undefined) throw new ProofError("the export is empty");
    if (end === undefined) throw new ProofError(`the export was cut off behind entry ${this.#range.size}`);
    const keys = new LogKeys(this.#expected.trusted, end.keyRotations);
    const checkpoint = keys.open(end.checkpoint);
    if (checkpoint.size !== this.#range.size) {
      throw new ProofError(
        `the checkpoint covers ${checkpoint.size} entries, the export ends with ${this.#range.size}`,
      );
    }
    if (!sameHash(checkpoint.root, this.#range.root())) {
      throw new ProofError("the entries are not those that the checkpoint was signed over");
    }
    if (begin.origin !== checkpoint.origin) throw new ProofError(`the export says that it is of "${begin.origin}"`);
    const [ahead] = this.#ahead;
    if (ahead !== undefined) {
      throw new ProofError(
        `the ledger was rolled back: it had ${ahead.size} entries when it was seen before, and has ${checkpoint.size} now`,
      );
    }
    const prunings = end.prunings.map((note) => keys.openNote(note, parsePruning));
    const acknowledgements = end.acknowledgements.map((note) => keys.openNote(note, parseAcknowledgement));
    this.#assertComplete(Number(begin.after), prunings);
    this.#notes.compare({ rotations: end.keyRotations.length, prunings, acknowledgements });
    return {
      checkpoint,
      after: Number(begin.after),
      entries: checkpoint.size - Number(begin.after),
      personal: { told: this.#told, missing: this.#committed - this.#told },
      signatures: this.#signatures.report,
      cosignatures: cosignaturesOf(end.checkpoint, this.#expected.witnesses ?? []),
      prunings,
      acknowledgements,
      notCompared: this.#notCompared,
    };
  }

  #written(message: ExportAuditEntriesResponse, entry: AuditEntry | undefined): string {
    try {
      return this.#isCsv ? csvRow(message, entry) : lineText(message);
    } catch (cause) {
      // A time that is none, say.
      throw new ProofError(`${this.#place()} has an entry that cannot be read`, { cause });
    }
  }

  #takeBegin(begin: ExportBegin): void {
    this.#begin = begin;
    this.#range = new CompactRange(Number(begin.after), begin.range);
    this.#beginRoot = this.#range.root();
    while (this.#ahead[0] !== undefined && this.#ahead[0].size < this.#range.size) {
      this.#notCompared.push(this.#ahead.shift() as Checkpoint);
    }
    this.#compare();
  }

  #compare(): void {
    while (this.#ahead[0]?.size === this.#range.size) {
      const seen = this.#ahead.shift() as Checkpoint;
      if (!sameHash(seen.root, this.#range.root())) {
        throw new ProofError(`the first ${seen.size} entries are not what they were when the ledger was seen before`);
      }
    }
  }

  /** What is missing at the front was pruned, by a note of the log's own, or not asked for. */
  #assertComplete(after: number, prunings: readonly Pruning[]): void {
    const { after: asked = 0, trusted } = this.#expected;
    if (after === asked) return;
    const pruning = prunings.find(({ size, origin }) => size === after && origin === trusted.name);
    if (pruning === undefined || !sameHash(pruning.root, this.#beginRoot)) {
      throw new ProofError(
        `the export begins behind entry ${after}, and no signed note says that the entries before were pruned`,
      );
    }
  }

  #place(): string {
    return this.#begin === undefined ? "the first line" : `the line behind entry ${this.#range.size}`;
  }
}

/** One line of an export's file, without its line break. */
export function lineText(message: ExportAuditEntriesResponse): string {
  return JSON.stringify(toJson(ExportAuditEntriesResponseSchema, message));
}

/**
 * Reads a line of an export, without the readable part, which says nothing of its own. Throws ProofError, with where it stands,
 * where it is none.
 */
function parseLine(text: string, place: string): { message: ExportAuditEntriesResponse; isReadable: boolean } {
  try {
    const line = JSON.parse(text) as { entry?: Record<string, JsonValue> };
    const isReadable = line.entry?.entry !== undefined;
    if (isReadable) delete line.entry?.entry;
    return { message: fromJson(ExportAuditEntriesResponseSchema, line), isReadable };
  } catch (cause) {
    throw new ProofError(`${place} is not a line of an export`, { cause });
  }
}
