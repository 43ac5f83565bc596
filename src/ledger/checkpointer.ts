import { setImmediate as immediate } from "node:timers/promises";
import { MissionControlError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { checkpointText, parseCheckpoint } from "../proof/checkpoint.ts";
import { cosigned, hasCosignature } from "../proof/cosignature.ts";
import { type NoteSigner, parseNote, signNote } from "../proof/note.ts";
import type { StoredCheckpoint } from "../store/proof-store.ts";
import type { Store } from "../store/store.ts";
import type { Publisher } from "./publisher.ts";
import type { MerkleTree } from "./tree.ts";

/**
 * How often it looks for new entries: a checkpoint is made at most 1 s after an entry. A publisher gets so
 * long; who asks for a checkpoint waits so long for a witness to sign it. All ms.
 */
const limits = { everyMs: 500, publishMs: 5_000, cosignMs: 1_000, retryMs: 5_000, logEveryMs: 60_000 } as const;

/** The most entries that one checkpoint adds: after a long time without one there are several. */
const maxNewEntries = 100_000;

export interface CheckpointerOptions {
  readonly store: Pick<Store, "head" | "proofs">;
  readonly tree: MerkleTree;
  readonly signer: NoteSigner;
  readonly publishers: readonly Publisher[];
  readonly log: Logger;
  /** What keeps it from signing: a ledger that is not what was published. */
  fault(): MissionControlError | undefined;
  /** A place to which checkpoints are published knows another ledger. */
  onTampered(found: MissionControlError): void;
}

/**
 * Signs a checkpoint over the ledger at most 1 s after an entry: by a timer, and at once where a receipt waits for it. It is
 * in the store before anybody sees it, then goes to the publishers, who never hold anything up: of what comes while one is at
 * work it gets the newest.
 */
export class Checkpointer {
  readonly #options: CheckpointerOptions;
  readonly #publications: readonly Publication[];
  /** Signs beside the key in use, in the first checkpoint after a rotation. */
  #also: NoteSigner | undefined;
  #signer: NoteSigner;
  #newest: StoredCheckpoint | undefined;
  /** The newest that a witness has signed. */
  #cosigned: StoredCheckpoint | undefined;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();
  /** Done where no other key is about to sign. */
  #rotation: Promise<void> = Promise.resolve();
  #waiting: Promise<void> | undefined;
  #fault: string | undefined;
  #logTime = 0;

  constructor(options: CheckpointerOptions, newest: StoredCheckpoint | undefined) {
    this.#options = options;
    this.#signer = options.signer;
    this.#newest = newest;
    this.#cosigned = newest && hasCosignature(newest.note) ? newest : undefined;
    this.#publications = options.publishers.map(
      (publisher) => new Publication(publisher, options, (checkpoint, lines) => this.#cosign(checkpoint, lines)),
    );
  }

  /** Why the last one could not be made or published; undefined: it could. */
  get fault(): string | undefined {
    const failed = this.#publications.flatMap(({ fault }) => (fault === undefined ? [] : [fault]));
    return this.#fault ?? failed[0];
  }

  get signer(): NoteSigner {
    return this.#signer;
  }

  /** The newest one that is in the store. */
  get newest(): StoredCheckpoint | undefined {
    return this.#newest;
  }

  start(): void {
    // A crash may have come between a checkpoint and its publication.
    if (this.#newest) for (const publication of this.#publications) publication.add(this.#newest);
    this.#timer = setInterval(() => {
      void this.#next();
      for (const publication of this.#publications) publication.retry();
    }, limits.everyMs);
    this.#timer.unref();
  }

  /** Signs what is left, and gives the publishers a moment. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#next();
    await Promise.all(this.#publications.map((publication) => publication.settled()));
    await this.#next();
  }

  /**
   * A checkpoint that covers that many entries, made at once where there is none yet. One that a witness has signed where there
   * is one, or will be in a moment.
   *
   * @throws MissionControlError LEDGER_UNAVAILABLE where it cannot be made within `waitMs`.
   */
  async covering(size: number, waitMs: number, signal?: AbortSignal): Promise<StoredCheckpoint> {
    const deadline = AbortSignal.any([AbortSignal.timeout(waitMs), ...(signal === undefined ? [] : [signal])]);
    while (this.#newest === undefined || this.#newest.size < size) {
      await Promise.race([this.#next(), aborted(deadline)]);
      signal?.throwIfAborted();
      if (deadline.aborted || this.#fault !== undefined) {
        const why = this.#fault ?? `not within ${waitMs} ms`;
        throw new MissionControlError("LEDGER_UNAVAILABLE", `no checkpoint covers entry ${size} (${why}): try again`);
      }
    }
    const witnesses = this.#publications.filter(({ cosigns, fault }) => cosigns && fault === undefined);
    if (witnesses.length > 0 && (this.#cosigned?.size ?? 0) < size) {
      const signed = Promise.all(witnesses.map((publication) => publication.settled()));
      await Promise.race([signed, aborted(AbortSignal.any([AbortSignal.timeout(limits.cosignMs), deadline]))]);
      signal?.throwIfAborted();
    }
    return this.#cosigned !== undefined && this.#cosigned.size >= size ? this.#cosigned : this.#newest;
  }

  /** A witness has signed a checkpoint: its signatures are kept below it. */
  #cosign(checkpoint: StoredCheckpoint, lines: readonly string[]): void {
    const { text, signatures } = parseNote(checkpoint.note);
    // Of a key that was rotated meanwhile no checkpoint is given out any more.
    if (!signatures.some(({ keyId }) => keyId === this.#signer.key.id)) return;
    const known = this.#cosigned;
    const isKnown = known !== undefined && parseNote(known.note).text === text;
    if (!isKnown && known !== undefined && known.size > checkpoint.size) return;
    const { note } = isKnown ? known : checkpoint;
    const signed = { ...checkpoint, note: cosigned(note, lines) };
    if (signed.note === note) return;
    this.#cosigned = signed;
    void this.#next();
  }

  /**
   * Another key signs once `change` is through, and nothing is signed meanwhile: a larger tree than `change` has written down
   * would be signed by a key that has gone. The next checkpoint is signed by both.
   */
  async rotate(change: () => Promise<NoteSigner>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#rotation = promise;
    try {
      await this.#round;
      const to = await change();
      this.#also = this.#signer;
      this.#signer = to;
      this.#newest = undefined;
      this.#cosigned = undefined;
    } finally {
      resolve();
    }
    await this.#next();
  }

  /** The round after the one that is under way; all who ask for it meanwhile share it. Never rejects: see `fault`. */
  #next(): Promise<void> {
    this.#waiting ??= this.#round.then(() => {
      this.#waiting = undefined;
      this.#round = this.#sign();
      return this.#round;
    });
    return this.#waiting;
  }

  async #sign(): Promise<void> {
    const { store, tree, log, fault } = this.#options;
    await this.#rotation;
    try {
      const tampered = fault();
      if (tampered) throw tampered;
      await this.#keepCosigned();
      const head = Number(store.head);
      if (head === 0 || head === this.#newest?.size) return;
      const end = Math.min(head, tree.size + maxNewEntries);
      while (tree.size < end) {
        await tree.grow(end);
        await immediate();
      }
      const root = await tree.root();
      const text = checkpointText({ origin: this.#signer.key.name, size: tree.size, root });
      const signers = this.#also === undefined ? [this.#signer] : [this.#signer, this.#also];
      const checkpoint = { size: tree.size, note: signNote(text, signers), time: Date.now() };
      const tiles = tree.unsaved();
      await store.proofs.putCheckpoint(checkpoint, tiles);
      tree.saved(tiles);
      this.#also = undefined;
      this.#newest = checkpoint;
      this.#fault = undefined;
      this.#tell(checkpoint);
      for (const publication of this.#publications) publication.add(checkpoint);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (this.#fault === undefined) log.error({ err: error }, "no checkpoint of the ledger can be made");
      this.#fault = message;
    }
  }

  /** The newest is kept with the signatures of its witnesses; older ones are not brought back for theirs. */
  async #keepCosigned(): Promise<void> {
    const [newest, signed] = [this.#newest, this.#cosigned];
    if (newest === undefined || newest.size !== signed?.size || newest.note === signed.note) return;
    await this.#options.store.proofs.putCheckpoint(signed, []);
    this.#newest = signed;
  }

  /** The log is a place to publish to as well; one line a minute is enough to show a rollback. */
  #tell({ note, time }: StoredCheckpoint): void {
    if (time - this.#logTime < limits.logEveryMs) return;
    this.#logTime = time;
    const { origin, size } = parseCheckpoint(parseNote(note).text);
    this.#options.log.info({ checkpoint: note, origin, size }, "checkpoint of the ledger");
  }
}

/** One publisher at work: one checkpoint at a time, and then the newest that has come meanwhile. */
class Publication {
  readonly #publisher: Publisher;
  readonly #options: Pick<CheckpointerOptions, "log" | "tree" | "onTampered">;
  readonly #onSigned: (checkpoint: StoredCheckpoint, lines: readonly string[]) => void;
  #next: StoredCheckpoint | undefined;
  #work: Promise<void> | undefined;
  #last: StoredCheckpoint | undefined;
  #tryTime = 0;
  fault: string | undefined;

  constructor(
    publisher: Publisher,
    options: Pick<CheckpointerOptions, "log" | "tree" | "onTampered">,
    onSigned: (checkpoint: StoredCheckpoint, lines: readonly string[]) => void,
  ) {
    this.#publisher = publisher;
    this.#options = options;
    this.#onSigned = onSigned;
  }

  get cosigns(): boolean {
    return this.#publisher.cosigns;
  }

  add(checkpoint: StoredCheckpoint): void {
    this.#next = checkpoint;
    this.#work ??= this.#run();
  }

  /** Once more what failed, a while after it did. */
  retry(): void {
    if (this.fault !== undefined && this.#last && Date.now() - this.#tryTime > limits.retryMs) this.add(this.#last);
  }

  async settled(): Promise<void> {
    await this.#work;
  }

  async #run(): Promise<void> {
    for (let checkpoint = this.#next; checkpoint !== undefined; checkpoint = this.#next) {
      this.#next = undefined;
      this.#last = checkpoint;
      this.#tryTime = Date.now();
      try {
        const { size } = checkpoint;
        const { tree } = this.#options;
        const signal = AbortSignal.timeout(limits.publishMs);
        const lines = await this.#publisher.publish(checkpoint, signal, (from) => tree.consistencyProof(from, size));
        this.#onSigned(checkpoint, lines);
        this.fault = undefined;
      } catch (error) {
        const fault = `checkpoints cannot be published (${this.#publisher.name}): ${error instanceof Error ? error.message : error}`;
        if (this.fault === undefined) this.#options.log.error({ err: error }, fault);
        if (error instanceof MissionControlError && error.reason === "LEDGER_TAMPERED") this.#options.onTampered(error);
        this.fault = fault;
      }
    }
    this.#work = undefined;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
