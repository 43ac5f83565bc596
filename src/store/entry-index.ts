import { createHmac, hash } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { LRUCache } from "lru-cache";
import { type AuditEntry, AuditEntry_Verdict as Verdict } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { EntryQuery } from "./store.ts";
import type { StoredEntries } from "./stored-entries.ts";

/** Entries whose times are summed up together. */
export const blockSize = 256;
/** Entries that are indexed in one transaction, and rows of theirs that one statement inserts. */
const slice = 512;
const rowsAtOnce = 32;
/** Entries that are kept in memory until they are indexed, so that they are not read again. */
const maxFresh = 16_384;
/** Entries that a query looks at, at the most: a page that would need more is shorter. Some 50 ms. */
const maxLooks = 10_000;
/** Keys of subjects that are kept: an HMAC is ten times the cost of a plain hash. */
const maxKnownSubjects = 1000;
/** Bytes of a key, so that it is a number. What meets by chance is told apart by the entry itself. */
const keyBytes = 6;

/** What is indexed about an entry. Part of each key: never renumbered. */
const kinds = {
  entry: 1,
  subject: 2,
  action: 3,
  target: 4,
  call: 5,
  request: 6,
  phase: 7,
  verdict: 8,
  brake: 9,
  intent: 10,
};
type Kind = keyof typeof kinds;

/** What a query found. */
export interface Found {
  /** The newest first. */
  readonly found: AuditEntry[];
  /** Where it gave up looking; undefined where it looked at all there is. */
  readonly lookedTo: number | undefined;
}

/**
 * Finds entries without reading all of them. It is made from the entries, some time after them and many at a time: a commit
 * that is waited for does not pay for it. What it does not know yet, a query reads.
 *
 * One table has, for each thing that an entry can be asked for by, a key and the entry's sequence. Keys are hashes; those of
 * subjects are HMACs with the index's secret, so that the table says nothing about people whose entries were erased.
 */
export class EntryIndex {
  readonly #db: DatabaseSync;
  readonly #entries: StoredEntries;
  readonly #secret: Uint8Array;
  readonly #subjects = new LRUCache<string, number>({ max: maxKnownSubjects });
  readonly #sql;
  /** The newest entries, one after the other, as far as they are not indexed. */
  #fresh: AuditEntry[] = [];
  #indexedTo: number;

  constructor(db: DatabaseSync, entries: StoredEntries, secret: Uint8Array) {
    this.#db = db;
    this.#entries = entries;
    this.#secret = secret;
    this.#sql = prepare(db);
    this.#indexedTo = Number(this.#sql.indexedTo.get()?.indexed_to);
  }

  /** The last entry that is in it. */
  get indexedTo(): number {
    return this.#indexedTo;
  }

  /** Tells it of entries that are durable now. */
  note(entries: readonly AuditEntry[]): void {
    if (this.#fresh.length + entries.length > maxFresh) this.#fresh = [];
    for (const entry of entries) this.#fresh.push(entry);
  }

  /** Takes up to 512 more entries in, in one transaction; true where it knows all of them. Throws what SQLite throws. */
  catchUp(): boolean {
    const from = Math.max(this.#indexedTo, this.#entries.prunedTo);
    const to = Math.min(this.#entries.head, from + slice);
    if (from >= to) return true;
    const rows: [key: number, sequence: number][] = [];
    const blocks = new Map<number, { least: number; most: number }>();
    const firstFresh = Number(this.#fresh[0]?.sequence ?? 0);
    for (let sequence = from + 1; sequence <= to; sequence++) {
      const fresh = this.#fresh[sequence - firstFresh];
      const entry = Number(fresh?.sequence) === sequence ? fresh : this.#entries.get(sequence);
      if (!entry) continue;
      for (const key of this.#keysOf(entry)) rows.push([key, sequence]);
      const time = timeOf(entry);
      const { least, most } = blocks.get(blockOf(sequence)) ?? { least: time, most: time };
      blocks.set(blockOf(sequence), { least: Math.min(least, time), most: Math.max(most, time) });
    }
    // In the table's order: neighbours share pages.
    rows.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      let at = 0;
      for (; at + rowsAtOnce <= rows.length; at += rowsAtOnce) {
        this.#sql.insertMany.run(...rows.slice(at, at + rowsAtOnce).flat());
      }
      for (const row of rows.slice(at)) this.#sql.insert.run(...row);
      for (const [block, { least, most }] of blocks) this.#sql.widen.run(block, least, most);
      this.#sql.setIndexedTo.run(to);
      this.#db.exec("COMMIT");
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
    this.#indexedTo = to;
    this.#fresh = this.#fresh.slice(Math.max(0, to + 1 - firstFresh));
    return to === this.#entries.head;
  }

  /** The newest entries that match, up to the query's limit. */
  find(query: EntryQuery): Found {
    const wanted = this.#wanted(query);
    const { lowest, highest } = this.#range(query);
    const found: AuditEntry[] = [];
    let looks = 0;
    let at: number | undefined = highest;
    while (at !== undefined && at >= lowest && found.length < query.limit) {
      if (looks++ >= maxLooks) return { found, lookedTo: at + 1 };
      if (at <= this.#indexedTo) at = this.#agree(wanted, at);
      if (at === undefined || at < lowest) break;
      const entry = this.#entries.get(at);
      if (entry && matches(query, entry)) found.push(entry);
      at -= 1;
    }
    return { found, lookedTo: undefined };
  }

  /** All sequences under one key behind another one, the oldest first: for who goes through all of them. */
  sequencesOf(kind: Kind, value: string, after: number, limit: number): number[] {
    return this.#sql.all.all(this.#key(kind, value), after, limit).map((row) => Number(row.sequence));
  }

  /** Takes an entry out from under one key. */
  forget(kind: Kind, value: string, sequence: number): void {
    this.#sql.remove.run(this.#key(kind, value), sequence);
  }

  /** Takes entries out that are about to be pruned; they have to be there still. */
  forgetAll(from: number, to: number): void {
    for (let sequence = from; sequence <= to; sequence++) {
      const entry = this.#entries.get(sequence);
      if (entry) for (const key of this.#keysOf(entry)) this.#sql.remove.run(key, sequence);
    }
    this.#sql.removeBlocks.run(blockOf(to));
  }

  /** The largest sequence from there downwards that is under a key of each of the wanted. */
  #agree(wanted: readonly (readonly number[])[], from: number): number | undefined {
    let at: number | undefined = from;
    for (let agreed = 0, n = 0; agreed < wanted.length; n++) {
      const keys: readonly number[] = wanted[n % wanted.length] ?? [];
      let next: number | undefined;
      for (const key of keys) {
        const found = this.#sql.seek.get(key, at)?.sequence;
        if (found !== undefined && Number(found) > (next ?? 0)) next = Number(found);
      }
      if (next === undefined) return undefined;
      agreed = next === at ? agreed + 1 : 1;
      at = next;
    }
    return at;
  }

  /** For each condition of the query, the keys of which an entry has to be under one. */
  #wanted(query: EntryQuery): number[][] {
    const wanted: number[][] = [];
    const one = (kind: Kind, value: string | undefined) => {
      if (value !== undefined) wanted.push([this.#key(kind, value)]);
    };
    const some = (kind: Kind, values: readonly (string | number)[] = []) => {
      if (values.length > 0) wanted.push(values.map((value) => this.#key(kind, String(value))));
    };
    one("entry", query.entryId);
    one("call", query.callId);
    one("request", query.requestId);
    one("target", query.target);
    one("brake", query.brakeId);
    one("subject", query.subject);
    some("action", query.actions);
    some("verdict", query.verdict === undefined ? [] : [query.verdict]);
    some("phase", query.phases);
    return wanted;
  }

  /** Between which sequences the entries of that time are. */
  #range({ since, until, after = 0n, before }: EntryQuery): { lowest: number; highest: number } {
    const highest = Math.min(this.#entries.head, before === undefined ? Number.POSITIVE_INFINITY : Number(before) - 1);
    const lowest = Math.max(this.#entries.prunedTo, Number(after)) + 1;
    if (since === undefined && until === undefined) return { lowest, highest };
    const { first, last } = this.#sql.blocks.get(since ?? 0, until ?? Number.MAX_SAFE_INTEGER) ?? {};
    const unindexed = this.#indexedTo + 1;
    if (typeof first !== "number" || typeof last !== "number") return { lowest: Math.max(lowest, unindexed), highest };
    const from = Math.max(lowest, Math.min(first * blockSize, unindexed));
    // What is not indexed yet is looked at whatever its time.
    return { lowest: from, highest: this.#indexedTo < this.#entries.head ? highest : Math.min(highest, endOf(last)) };
  }

  *#keysOf(entry: AuditEntry): Generator<number> {
    yield this.#key("entry", entry.entryId);
    yield this.#key("action", entry.action);
    yield this.#key("phase", String(entry.phase));
    const verdict = verdictOf(entry);
    if (verdict !== Verdict.VERDICT_UNSPECIFIED) yield this.#key("verdict", String(verdict));
    if (entry.principal?.subject) yield this.#key("subject", entry.principal.subject);
    if (entry.target !== "") yield this.#key("target", entry.target);
    if (entry.callId !== "") yield this.#key("call", entry.callId);
    if (entry.requestId !== "") yield this.#key("request", entry.requestId);
    if (entry.brakeId !== "") yield this.#key("brake", entry.brakeId);
    if (entry.intentEntryId !== "") yield this.#key("intent", entry.intentEntryId);
  }

  #key(kind: Kind, value: string): number {
    if (kind !== "subject") return number(hash("sha256", `${kinds[kind]}\0${value}`, "hex"));
    let key = this.#subjects.get(value);
    if (key === undefined) {
      key = number(createHmac("sha256", this.#secret).update(`${kinds[kind]}\0${value}`).digest("hex"));
      this.#subjects.set(value, key);
    }
    return key;
  }
}

/** Whether an entry is what a query asks for, whatever its place. */
export function matches(query: EntryQuery, entry: AuditEntry): boolean {
  const is = (wanted: string | undefined, value: string | undefined) => wanted === undefined || wanted === value;
  const time = timeOf(entry);
  return (
    is(query.entryId, entry.entryId) &&
    is(query.subject, entry.principal?.subject) &&
    is(query.target, entry.target) &&
    is(query.callId, entry.callId) &&
    is(query.requestId, entry.requestId) &&
    is(query.brakeId, entry.brakeId) &&
    (!query.actions?.length || query.actions.includes(entry.action)) &&
    (!query.phases?.length || query.phases.includes(entry.phase)) &&
    (query.verdict === undefined || query.verdict === verdictOf(entry)) &&
    (query.since === undefined || time >= query.since) &&
    (query.until === undefined || time < query.until)
  );
}

/** What identity, roles and policy decided about the call of an entry. */
export function verdictOf({ decision, resultCode }: AuditEntry): Verdict {
  if (decision && !decision.allowed) return Verdict.REFUSED;
  if (resultCode === "UNAUTHENTICATED" || (resultCode === "PERMISSION_DENIED" && !decision)) return Verdict.REFUSED;
  return decision?.allowed ? Verdict.ALLOWED : Verdict.VERDICT_UNSPECIFIED;
}

function timeOf({ time }: AuditEntry): number {
  return time === undefined ? 0 : timestampMs(time);
}

function blockOf(sequence: number): number {
  return Math.floor(sequence / blockSize);
}

function endOf(block: number): number {
  return (block + 1) * blockSize - 1;
}

function number(hex: string): number {
  return Number.parseInt(hex.slice(0, 2 * keyBytes), 16);
}

/** The statements; a test asks SQLite for the plan of each. */
export const indexStatements = {
  indexedTo: "SELECT indexed_to FROM ledger_state",
  setIndexedTo: "UPDATE ledger_state SET indexed_to = ?",
  insert: "INSERT INTO entry_filter (key, sequence) VALUES (?, ?) ON CONFLICT DO NOTHING",
  insertMany: `INSERT INTO entry_filter (key, sequence) VALUES ${Array(rowsAtOnce).fill("(?, ?)").join(", ")}
               ON CONFLICT DO NOTHING`,
  remove: "DELETE FROM entry_filter WHERE key = ? AND sequence = ?",
  widen: `INSERT INTO entry_block (block, min_time, max_time) VALUES (?, ?, ?) ON CONFLICT (block) DO UPDATE
          SET min_time = min(min_time, excluded.min_time), max_time = max(max_time, excluded.max_time)`,
  removeBlocks: "DELETE FROM entry_block WHERE block < ?",
  seek: "SELECT sequence FROM entry_filter WHERE key = ? AND sequence <= ? ORDER BY sequence DESC LIMIT 1",
  all: "SELECT sequence FROM entry_filter WHERE key = ? AND sequence > ? ORDER BY sequence LIMIT ?",
  blocks: "SELECT min(block) AS first, max(block) AS last FROM entry_block WHERE max_time >= ? AND min_time < ?",
} as const;

function prepare(db: DatabaseSync) {
  const prepared = Object.entries(indexStatements).map(([name, sql]) => [name, db.prepare(sql)] as const);
  return Object.fromEntries(prepared) as Record<keyof typeof indexStatements, ReturnType<DatabaseSync["prepare"]>>;
}
