import { MissionControlError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { LogKeys, rotationNote, rotationOf } from "../proof/log-keys.ts";
import { acknowledgementText, parsePruning, pruningText } from "../proof/log-notes.ts";
import { type NoteSigner, parseNote, signNote } from "../proof/note.ts";
import { ProofError } from "../proof/proof-error.ts";
import { parseVerifierKey } from "../proof/verifier-key.ts";
import { overlaid } from "../store/overlay.ts";
import type { NoteKind, StoredCheckpoint } from "../store/proof-store.ts";
import type { Store, StoredEntry } from "../store/store.ts";
import { CheckpointFile } from "./checkpoint-file.ts";
import { Checkpointer } from "./checkpointer.ts";
import { checkIntegrity, type KeptLedger, watchIntegrity } from "./integrity.ts";
import type { Publisher } from "./publisher.ts";
import { makeNextKey, openSigningKey, readNextKey, readRotations, takeNextKey } from "./signing-key.ts";
import { MerkleTree, tileWidth } from "./tree.ts";

/** How long a receipt waits for a checkpoint that covers its entry, ms. */
const coverMs = 2_000;
/** Entries that an export reads at once. */
const exportPage = 200;

export interface ProofOptions {
  readonly store: Store;
  /** Where the log's key is, or is made. */
  readonly keyDirectory: string;
  /** The second place for checkpoints: outside of what can be restored together with the database, if it is to be of use. */
  readonly checkpointsDirectory: string;
  /** Further places. */
  readonly publishers?: readonly Publisher[];
  /** Why the ledger is to go on although it is not what was published; undefined: then it does not. */
  readonly acknowledge?: string | undefined;
  readonly log: Logger;
}

/** An entry of the ledger with its proof. */
export interface ProvedEntry {
  readonly entry: StoredEntry;
  readonly proof: readonly Uint8Array[];
  readonly checkpoint: StoredCheckpoint;
}

/**
 * What proves the ledger: the tree over its entries, the checkpoints that are signed and published, and the look at the start
 * (and all the time) whether the store is still what was published. While it is not, `fault` is set, and nothing is appended.
 */
export class LedgerProofs {
  /** What was found and, for this reason, passed over at the start; undefined: nothing. */
  readonly acknowledged: { readonly found: string; readonly reason: string } | undefined;
  readonly #options: ProofOptions;
  readonly #kept: KeptLedger;
  readonly #checkpointer: Checkpointer;
  readonly #watch = new AbortController();
  #watching: Promise<void> = Promise.resolve();
  /** One at a time. */
  #rotation: Promise<unknown> = Promise.resolve();
  #fault: MissionControlError | undefined;

  private constructor(
    options: ProofOptions,
    kept: KeptLedger,
    found: { fault: MissionControlError | undefined; acknowledged: LedgerProofs["acknowledged"] },
    signer: NoteSigner,
    newest: StoredCheckpoint | undefined,
  ) {
    this.#options = options;
    this.#kept = kept;
    this.#fault = found.fault;
    this.acknowledged = found.acknowledged;
    const { store, checkpointsDirectory, publishers = [], log } = options;
    this.#checkpointer = new Checkpointer(
      {
        store,
        tree: kept.tree,
        signer,
        publishers: [new CheckpointFile(checkpointsDirectory), ...publishers],
        log,
        fault: () => this.#fault,
        // A fault of the publication all the same, in health; but who has taken the loss upon themselves can go on.
        onTampered: (found) => options.acknowledge === undefined && this.#tampered(found),
      },
      newest,
    );
  }

  /**
   * Opens the key and the tree, and holds the store against the last checkpoints. Rejects where the key is unfit, or with
   * LEDGER_UNAVAILABLE; a store that is not what was published is no rejection, but a `fault`.
   */
  static async open(options: ProofOptions): Promise<LedgerProofs> {
    const { store, log } = options;
    const rotations = await rotationsOf(options);
    const signer = await openKey(options, rotations.all);
    const published = await new CheckpointFile(options.checkpointsDirectory).last();
    const stored = await store.proofs.lastCheckpoint();
    if (stored !== undefined && published === undefined) {
      log.warn({ directory: options.checkpointsDirectory }, "no checkpoint is published there: it is published anew");
    }
    let kept = await keptLedger(store);
    const look = async () => {
      const keys = logKeys(rotations.all, signer);
      const notes = [stored?.note, published].filter((note) => note !== undefined);
      await checkIntegrity(
        kept,
        notes.map((note) => keys.open(note)),
      );
      if (rotations.lost.length > 0) {
        throw new MissionControlError("LEDGER_TAMPERED", "it was rolled back to before the log's key was rotated");
      }
    };
    const fault = await look().then(() => undefined, asTampered);
    if (fault === undefined) return new LedgerProofs(options, kept, { fault, acknowledged: undefined }, signer, stored);
    const { acknowledge: reason } = options;
    if (reason === undefined) {
      log.error(
        { err: fault },
        "THE LEDGER IS NOT WHAT WAS PUBLISHED: nothing is appended to it, every call is refused",
      );
      return new LedgerProofs(options, kept, { fault, acknowledged: undefined }, signer, stored);
    }
    // From here on the tree is over what there is. What is missing in the middle cannot be passed over: there is no tree then.
    await store.proofs.clearTiles(kept.pruned);
    kept = await keptLedger(store);
    await checkIntegrity(kept, []);
    const found = fault.message;
    const time = Date.now();
    const head = Number(store.head);
    for (let before = -1; kept.tree.size < head && kept.tree.size !== before; ) {
      before = kept.tree.size;
      await kept.tree.grow(head);
    }
    const { name: origin } = signer.key;
    const root = await kept.tree.root();
    const text = acknowledgementText({ origin, size: head, root, found, reason, time: new Date(time).toISOString() });
    // Who trusts an older key is to go on with the one in use.
    for (const note of rotations.lost) await store.proofs.putNote("rotation", note, time);
    await store.proofs.putNote("acknowledgement", signNote(text, [signer]), time);
    log.warn({ found, reason }, "the ledger goes on although it is not what was published: this was acknowledged");
    return new LedgerProofs(options, kept, { fault: undefined, acknowledged: { found, reason } }, signer, undefined);
  }

  /** Set while the ledger is not what was published: then nothing is appended to it. */
  get fault(): MissionControlError | undefined {
    return this.#fault;
  }

  /** Why checkpoints cannot be made or published; undefined: they can. */
  get checkpointFault(): string | undefined {
    return this.#checkpointer.fault;
  }

  /** The public key, as it is written down. */
  get verifierKey(): string {
    return this.#checkpointer.signer.key.text;
  }

  start(): void {
    if (this.#fault !== undefined) return;
    this.#checkpointer.start();
    this.#watching = watchIntegrity(this.#kept, this.#watch.signal).catch((error: unknown) => {
      if (!this.#watch.signal.aborted) this.#tampered(asTampered(error));
    });
  }

  #tampered(found: MissionControlError): void {
    this.#fault = found;
    const { log } = this.#options;
    log.error({ err: found }, "THE LEDGER IS NOT WHAT WAS SIGNED: nothing is appended to it, every call is refused");
  }

  /** Signs what is left. */
  async stop(): Promise<void> {
    this.#watch.abort();
    await this.#watching;
    await this.#checkpointer.stop();
  }

  /** The newest checkpoint, which covers all that is in the ledger now, with the proof that the ledger grew from that size. */
  async checkpoint(
    consistentWith: number,
    signal?: AbortSignal,
  ): Promise<{ checkpoint: StoredCheckpoint; proof: readonly Uint8Array[] }> {
    const checkpoint = await this.#covering(Number(this.#options.store.head), signal);
    if (consistentWith > checkpoint.size) {
      throw new MissionControlError(
        "CHECKPOINT_AHEAD",
        `the ledger has ${checkpoint.size} entries, and never had ${consistentWith}: if it was seen with so many, it was rolled back`,
      );
    }
    return { checkpoint, proof: await this.#kept.tree.consistencyProof(consistentWith, checkpoint.size) };
  }

  /** An entry with its proof. Throws ENTRY_NOT_FOUND where there is none of that id. */
  async prove(entryId: string, signal?: AbortSignal): Promise<ProvedEntry> {
    const entry = await this.#options.store.storedEntry(entryId);
    if (entry === undefined) throw entryNotFound(entryId);
    const sequence = Number(entry.sequence);
    const checkpoint = await this.#covering(sequence, signal);
    return { entry, proof: await this.#kept.tree.inclusionProof(sequence - 1, checkpoint.size), checkpoint };
  }

  /** What an export begins and ends with, and the entries between; `after` below what was pruned begins behind that. */
  async export(after: number, signal?: AbortSignal) {
    const { checkpoint } = await this.checkpoint(0, signal);
    const { tree, pruned } = this.#kept;
    if (after > checkpoint.size) {
      throw new MissionControlError(
        "CHECKPOINT_AHEAD",
        `the ledger has ${checkpoint.size} entries, none behind ${after}`,
      );
    }
    if (after > 0 && after < pruned) {
      throw new MissionControlError(
        "ENTRIES_PRUNED",
        `the first ${pruned} entries were pruned: export after 0, or ${pruned}`,
      );
    }
    const begin = Math.max(after, pruned);
    const { store } = this.#options;
    async function* entries() {
      for (let last = begin; last < checkpoint.size; ) {
        signal?.throwIfAborted();
        const page = await store.storedEntries(BigInt(last), Math.min(exportPage, checkpoint.size - last));
        if (page.length === 0)
          throw new MissionControlError("ENTRIES_PRUNED", `entry ${last + 1} was pruned meanwhile`);
        yield* page;
        last = Number(page.at(-1)?.sequence);
      }
    }
    return {
      origin: this.#checkpointer.signer.key.name,
      after: begin,
      range: (await tree.range(begin)).hashes,
      entries: entries(),
      checkpoint,
      prunings: await store.proofs.notes("pruning"),
      acknowledgements: await store.proofs.notes("acknowledgement"),
    };
  }

  /** How the key in use followed those before it. */
  rotations(): Promise<string[]> {
    return this.#options.store.proofs.notes("rotation");
  }

  /** Has a new key sign from now on; the note that says so is signed by both. */
  rotateKey(): Promise<string> {
    const rotation = this.#rotation.then(() => this.#rotateKey());
    this.#rotation = rotation.catch(() => undefined);
    return rotation;
  }

  async #rotateKey(): Promise<string> {
    const { keyDirectory, log } = this.#options;
    const from = this.#checkpointer.signer;
    const to = await makeNextKey(keyDirectory, from.key.name);
    const { checkpoint } = await this.checkpoint(0);
    let note = "";
    // The first checkpoint after it is signed by both, and covers what was written meanwhile.
    await this.#checkpointer.rotate(async () => {
      note = rotationNote(from, to, this.#checkpointer.newest?.size ?? checkpoint.size);
      await this.#putNote("rotation", note);
      return takeNextKey(keyDirectory, note);
    });
    log.warn({ from: from.key.text, to: to.key.text }, "the ledger's key was rotated");
    return note;
  }

  /**
   * Gets the ledger ready to lose its first entries, up to that sequence or a little less: a signed note says what they were,
   * durable before anything is deleted. Returns how many may go; the tree keeps their hashes.
   */
  async prepareToPrune(upTo: number): Promise<number> {
    const { checkpoint } = await this.checkpoint(0);
    const size = Math.floor(Math.min(upTo, checkpoint.size) / tileWidth) * tileWidth;
    if (size <= this.#kept.pruned) return this.#kept.pruned;
    const { signer } = this.#checkpointer;
    const root = await this.#kept.tree.root(size);
    const text = pruningText({ origin: signer.key.name, size, root, time: new Date().toISOString() });
    await this.#putNote("pruning", signNote(text, [signer]));
    this.#kept.pruned = size;
    return size;
  }

  #putNote(kind: NoteKind, note: string): Promise<void> {
    return this.#options.store.proofs.putNote(kind, note, Date.now());
  }

  #covering(size: number, signal: AbortSignal | undefined): Promise<StoredCheckpoint> {
    if (this.#fault !== undefined) throw refusal(this.#fault);
    return this.#checkpointer.covering(size, coverMs, signal);
  }
}

/** @param unsaid for the ledger only: nobody may tell what is hidden from what is not there. */
export function entryNotFound(entryId: string, unsaid = ""): MissionControlError {
  const message = `the ledger has no entry "${entryId}" (retention may have pruned it)`;
  return new MissionControlError("ENTRY_NOT_FOUND", message, { unsaid });
}

/** The store, as long as its ledger is what was published: after that nothing is appended to it. */
export function guarded(store: Store, proofs: Pick<LedgerProofs, "fault">): Store {
  return overlaid(store, {
    commit: (change) => (proofs.fault ? Promise.reject(refusal(proofs.fault)) : store.commit(change)),
  });
}

function refusal(fault: MissionControlError): MissionControlError {
  return new MissionControlError(
    "LEDGER_TAMPERED",
    `the ledger is not what was published, so nothing can be recorded and nothing is done: ${fault.message}. Restore the ` +
      "newest backup, or start once with --acknowledge-ledger-rollback <reason>",
  );
}

/** How the key in use followed those before it: by all that is known, and what of that a store that was rolled back lacks. */
async function rotationsOf({ store, keyDirectory }: ProofOptions): Promise<{ all: string[]; lost: string[] }> {
  const stored = await store.proofs.notes("rotation");
  const lost = (await readRotations(keyDirectory)).filter((note) => !stored.includes(note));
  return { all: [...stored, ...lost], lost };
}

/** The key in use; takes up a rotation that a crash cut off behind its note. */
async function openKey({ keyDirectory }: ProofOptions, rotations: readonly string[]): Promise<NoteSigner> {
  const signer = await openSigningKey(keyDirectory);
  const next = await readNextKey(keyDirectory);
  const note = rotations.at(-1);
  if (next === undefined || note === undefined) return signer;
  const { from, to } = rotationOf(parseNote(note));
  return from === signer.key.text && to === next.key.text ? takeNextKey(keyDirectory, note) : signer;
}

/** The keys that may have signed what is there: the one in use, and those that it followed by notes it has signed itself. */
function logKeys(rotations: readonly string[], signer: NoteSigner): LogKeys {
  const [first] = rotations;
  const oldest = first === undefined ? signer.key : parseVerifierKey(rotationOf(parseNote(first)).from);
  const keys = new LogKeys(oldest, rotations);
  if (keys.newest.text !== signer.key.text)
    throw new ProofError("the ledger's rotations do not lead to the key in use");
  return keys;
}

async function keptLedger(store: Store): Promise<KeptLedger> {
  const note = (await store.proofs.notes("pruning")).at(-1);
  return {
    store,
    tree: await MerkleTree.open(store),
    pruned: note === undefined ? 0 : parsePruning(parseNote(note).text).size,
  };
}

function asTampered(error: unknown): MissionControlError {
  if (error instanceof ProofError) return new MissionControlError("LEDGER_TAMPERED", error.message, { cause: error });
  if (error instanceof MissionControlError) return error;
  throw error;
}
