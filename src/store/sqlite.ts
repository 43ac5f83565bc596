import { dirname, join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type AuditEntry, AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControlError } from "../errors.ts";
import { BrakeRows } from "./brake-rows.ts";
import { EntryIndex } from "./entry-index.ts";
import { eraseSubject } from "./erasure.ts";
import { GateRunRows } from "./gate-runs.ts";
import { GateTokenRows } from "./gate-tokens.ts";
import { openIndexSecret } from "./index-secret.ts";
import { OpenIntents } from "./open-intents.ts";
import { EntryPruning } from "./pruning.ts";
import { RevocationRows } from "./revocations.ts";
import { sqliteProofs } from "./sqlite-proofs.ts";
import { openDatabase } from "./sqlite-schema.ts";
import type { Change, Store } from "./store.ts";
import { StoredEntries } from "./stored-entries.ts";

/** Changes that may wait for one disk write. More than this waiting means that the disk does not keep up. */
const maxWaiting = 4096;
/** How long a change waits for a lock that another process holds, and how often it is tried meanwhile, ms. */
const lockedForMs = 800;
const lockRetryMs = 25;
/** A page of 1000, and one more to tell whether there is another. */
const maxEntriesPerQuery = 1001;
/**
 * Entries are indexed this long after they were written, ms; later where more than so many came meanwhile, for then callers
 * wait; and at once where so many are not indexed.
 */
const indexAfterMs = 100;
const busyEntries = 1000;
const maxUnindexed = 16_384;
const pruneEveryMs = 60 * 1000;
/** SQLite's result code for a lock of another process. */
const busy = 5;

interface Waiting {
  readonly change: Change;
  readonly since: number;
  readonly resolve: (entries: AuditEntry[]) => void;
  readonly reject: (error: Error) => void;
}

/** Tells who waits for a change what became of it; returns the entries that are durable by it. */
type Answer = () => readonly AuditEntry[];

/**
 * The embedded store: one SQLite file, for one process. What is committed in one turn of the event loop shares one
 * transaction and one disk write (group commit); one change that fails takes no other with it. A lock of another process is
 * waited for without blocking, for less than a second; what the disk refuses is refused at once.
 *
 * @param path of the database file, made where it is missing.
 * @throws MissionControlError LEDGER_UNAVAILABLE where it cannot be opened, with what to do.
 */
export function openSqlite(path: string): Store {
  const db = openDatabase(path);
  const entries = new StoredEntries(db);
  const index = new EntryIndex(db, entries, openIndexSecret(join(dirname(path), "ledger-index.key"), db));
  const pruning = new EntryPruning(db, entries, index);
  const intents = new OpenIntents(db, entries);
  const brakes = new BrakeRows(db);
  const revocations = new RevocationRows(db);
  const gateTokens = new GateTokenRows(db);
  const gateRuns = new GateRunRows(db);
  const begin = db.prepare("BEGIN IMMEDIATE");
  const end = db.prepare("COMMIT");

  let waiting: Waiting[] = [];
  let scheduled = false;
  let closed = false;
  let pruneTime = 0;
  /** The sequence of the newest entry that is durable. */
  let durable = entries.head;
  /** Set where it could not be read what is left after a transaction that did not come about: before that nothing else is done. */
  let isUnread = false;
  let indexing: NodeJS.Timeout | undefined;

  function flush(): void {
    scheduled = false;
    const batch = waiting;
    waiting = [];
    if (batch.length === 0) return;
    let answers: Answer[];
    try {
      answers = transaction(() => writeTogether(batch) ?? writeOneByOne(batch));
    } catch (error) {
      if (isBusy(error) && !closed) waitForLock(batch, error);
      else for (const { reject } of batch) reject(unavailable(error));
      return;
    }
    for (const answer of answers) index.note(answer());
    indexSoon();
  }

  /** Runs within a transaction of its own: all of it becomes durable, or nothing of it is left. */
  function transaction<T>(work: () => T): T {
    readAgain();
    begin.run();
    try {
      const result = work();
      end.run();
      durable = entries.head;
      return result;
    } catch (error) {
      rollBack();
      throw error;
    }
  }

  function rollBack(): void {
    isUnread = true;
    try {
      readAgain();
    } catch {
      // Whatever comes next tries it again, and does nothing before.
    }
  }

  function readAgain(): void {
    if (!isUnread) return;
    if (db.isTransaction) db.exec("ROLLBACK");
    entries.reload();
    intents.reload();
    isUnread = false;
  }

  /** The usual case: nothing is wrong with any change. Undefined, with nothing of it left, where something is. */
  function writeTogether(batch: readonly Waiting[]): Answer[] | undefined {
    db.exec("SAVEPOINT batch");
    try {
      const all = batch.flatMap(({ change }) => change.entries);
      const written = write({ entries: all });
      let at = 0;
      const answers = batch.map(({ change, resolve }) => {
        const own = written.slice(at, at + change.entries.length);
        at += own.length;
        writeRest(change, own);
        return answerOf(resolve, own);
      });
      forgetOld();
      db.exec("RELEASE batch");
      return answers;
    } catch (error) {
      // A full disk or a failing one makes SQLite give up the whole transaction.
      if (!db.isTransaction) throw error;
      db.exec("ROLLBACK TO batch; RELEASE batch");
      entries.reload();
      intents.reload();
      return undefined;
    }
  }

  function writeOneByOne(batch: readonly Waiting[]): Answer[] {
    return batch.map(({ change, resolve, reject }) => {
      db.exec("SAVEPOINT change");
      try {
        const own = write(change);
        writeRest(change, own);
        db.exec("RELEASE change");
        return answerOf(resolve, own);
      } catch (error) {
        if (!db.isTransaction) throw error;
        db.exec("ROLLBACK TO change; RELEASE change");
        entries.reload();
        intents.reload();
        return () => {
          reject(unavailable(error));
          return [];
        };
      }
    });
  }

  function write(change: Pick<Change, "entries">): AuditEntry[] {
    for (const entry of change.entries) assertWhole(entry);
    const written = entries.append(change.entries);
    intents.note(written);
    return written;
  }

  /** What a change says beside its entries, within the transaction that is open. */
  function writeRest(change: Change, own: readonly AuditEntry[]): void {
    brakes.write(change, own);
    revocations.write(change.revocations ?? []);
    gateTokens.write(change.gateTokens ?? []);
    if (change.gateRuns) gateRuns.write(change.gateRuns);
  }

  function forgetOld(): void {
    const now = Date.now();
    if (now - pruneTime < pruneEveryMs) return;
    brakes.prune(now);
    revocations.prune(now);
    pruneTime = now;
  }

  function waitForLock(batch: readonly Waiting[], error: unknown): void {
    const now = performance.now();
    const { patient = [], tired = [] } = Object.groupBy(batch, ({ since }) =>
      now - since < lockedForMs ? "patient" : "tired",
    );
    for (const { reject } of tired) reject(unavailable(error));
    waiting = [...patient, ...waiting];
    if (waiting.length === 0 || scheduled) return;
    scheduled = true;
    setTimeout(flush, lockRetryMs);
  }

  function indexSoon(): void {
    if (entries.head - index.indexedTo > maxUnindexed) indexSome();
    else if (indexing === undefined) indexLater();
  }

  function indexLater(): void {
    const { head } = entries;
    const look = () => (entries.head - head > busyEntries ? indexLater() : indexSome());
    indexing = setTimeout(look, indexAfterMs).unref();
  }

  function indexSome(): void {
    clearTimeout(indexing);
    indexing = undefined;
    if (closed) return;
    try {
      readAgain();
      if (!index.catchUp()) indexing = setTimeout(indexSome, 0).unref();
    } catch {
      // A query reads what is not indexed. The next commit tries again.
    }
  }

  /** Reads what is committed; a failure of the disk is told like one of a write. */
  async function read<T>(query: () => T): Promise<T> {
    if (closed) throw unavailable(new Error("it is closed"));
    try {
      readAgain();
      return query();
    } catch (error) {
      throw unavailable(error);
    }
  }

  return {
    proofs: sqliteProofs(db, unavailable),
    gateRuns: {
      list: (engine, filter, limit) => read(() => gateRuns.list(engine, filter, limit)),
      count: (engine, filter) => read(() => gateRuns.count(engine, filter)),
      changedSince: (engine, filter, since, limit) => read(() => gateRuns.changedSince(engine, filter, since, limit)),
      open: (engine) => read(() => gateRuns.open(engine)),
      ids: (engine) => read(() => gateRuns.ids(engine)),
      old: (engine, endedBefore, keep) => read(() => gateRuns.old(engine, endedBefore, keep)),
      steps: (engine, ids) => read(() => gateRuns.steps(engine, ids)),
    },

    commit(change) {
      return new Promise((resolve, reject) => {
        if (closed) return reject(unavailable(new Error("it is closed")));
        if (waiting.length >= maxWaiting) {
          return reject(unavailable(new Error(`${maxWaiting} changes wait for the disk already`)));
        }
        waiting.push({ change, since: performance.now(), resolve, reject });
        if (scheduled) return;
        scheduled = true;
        setImmediate(flush);
      });
    },

    listEntries: (query) =>
      read(() => {
        const limit = Math.max(0, Math.min(query.limit, maxEntriesPerQuery));
        const { found, lookedTo } = index.find({ ...query, limit });
        return { entries: found, lookedTo: lookedTo === undefined ? undefined : BigInt(lookedTo) };
      }),
    async storedEntry(entryId) {
      const look = () => read(() => index.find({ entryId, limit: 1 }));
      let { found, lookedTo } = await look();
      // What is not indexed is more than a query looks at: it is not said that there is none before all was looked at.
      if (lookedTo !== undefined) {
        while (!(await read(() => index.catchUp()))) await nextTurn();
        ({ found } = await look());
      }
      const [entry] = found;
      return read(() => entry && entries.stored(Number(entry.sequence)));
    },
    storedEntries: (after, limit) => read(() => entries.after(Number(after), Math.min(limit, maxEntriesPerQuery))),
    get head() {
      return BigInt(durable);
    },

    async eraseSubject(subject, signal) {
      while (!(await read(() => index.catchUp()))) await nextTurn();
      const erasure = eraseSubject(subject, { db, entries, index });
      for (;;) {
        signal?.throwIfAborted();
        const step = await read(() => transaction(() => erasure.next()));
        if (step.done) {
          // What was overwritten in the file is in the log before it still.
          await read(() => db.exec("PRAGMA wal_checkpoint(TRUNCATE)"));
          return step.value;
        }
        await nextTurn();
      }
    },

    async olderThan(time) {
      while (!(await read(() => index.catchUp()))) await nextTurn();
      return BigInt(await read(() => pruning.olderThan(time)));
    },

    async prune(upTo, signal) {
      const before = entries.prunedTo;
      for (let done = Number(upTo) <= before; !done && !signal?.aborted; await nextTurn()) {
        done = await read(() => transaction(() => pruning.some(Number(upTo))));
        entries.reload();
      }
      return entries.prunedTo - before;
    },

    get openIntentCount() {
      return intents.count;
    },
    openIntents: () => read(() => intents.all()),
    activeBrakes: () => read(() => brakes.active()),
    brake: (brakeId) => read(() => brakes.get(brakeId)),
    brakeOfIntent: (entryId) => read(() => brakes.ofIntent(entryId)),
    listBrakes: (query) => read(() => brakes.list(query)),
    holdsOf: (brakeId) => read(() => brakes.holdsOf(brakeId)),
    heldOf: (workflowId) => read(() => brakes.heldOf(workflowId)),
    answer: (key) => read(() => brakes.answer(key)),
    revocations: () => read(() => revocations.all()),
    revocationOfIntent: (entryId) => read(() => revocations.ofIntent(entryId)),
    gateToken: (gateTokenId) => read(() => gateTokens.get(gateTokenId)),
    gateTokenByHash: (hash) => read(() => gateTokens.byHash(hash)),
    gateTokenOfIntent: (entryId) => read(() => gateTokens.ofIntent(entryId)),
    gateTokens: (includeRevoked) => read(() => gateTokens.list(includeRevoked)),

    async close() {
      if (closed) return;
      closed = true;
      clearTimeout(indexing);
      flush();
      db.close();
    },
  };
}

function answerOf(resolve: Waiting["resolve"], own: AuditEntry[]): Answer {
  return () => {
    resolve(own);
    return own;
  };
}

/** What no entry may lack. */
function assertWhole({ entryId, phase, time }: AuditEntry): void {
  if (entryId === "" || phase === AuditEntry_Phase.PHASE_UNSPECIFIED || time === undefined) {
    throw new Error("an entry has an id, a phase and a time");
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && (Number(error.errcode) & 0xff) === busy;
}

function unavailable(cause: unknown): MissionControlError {
  if (cause instanceof MissionControlError) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new MissionControlError(
    "LEDGER_UNAVAILABLE",
    `the ledger cannot be used (${why}): nothing is done that cannot be recorded; try again, and see to the server's disk`,
    { cause },
  );
}
