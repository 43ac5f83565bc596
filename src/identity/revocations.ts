import { unwatchFile, watchFile } from "node:fs";
import { AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControlError } from "../errors.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Logger } from "../log.ts";
import { hideTokens } from "../proof/secrets.ts";
import type { Revocation } from "../store/revocations.ts";
import type { Store } from "../store/store.ts";
import { clockToleranceS } from "./claims.ts";
import { type Clock, systemClock } from "./clock.ts";
import { defaultMaxLifetimeS, type IssuerConfig } from "./issuer.ts";
import type { Principal } from "./principal.ts";
import { type FileRevocation, readRevocationFile } from "./revocation-file.ts";

const toleranceMs = clockToleranceS * 1000;
/** Beyond these, revoking whole subjects is what helps. */
const maxRevocations = 100_000;
/** How far ahead tokens may be revoked that are yet to be issued: it is no ban. */
const maxAheadMs = 24 * 60 * 60 * 1000;
/** How often it is looked whether the file has changed, ms. */
const lookEveryMs = 1_000;

/** What is to be revoked: one token, or a subject's. */
export interface Revoke {
  readonly issuer: string;
  /** "" where it is about a subject. */
  readonly tokenId: string;
  /** "" where it is about one token. */
  readonly subject: string;
  /** Of a subject; ms since the epoch; undefined: all that there are now. */
  readonly issuedBefore: number | undefined;
  readonly reason: string;
  /** Who revokes. */
  readonly by: Principal;
  /** The ledger entry of the intent. */
  readonly intentEntryId: string;
}

/** Where a revocation stands among all. */
export interface Place {
  readonly time: number;
  readonly key: string;
}

/** One of those in force. */
export interface Listed {
  readonly revocation: Revocation;
  readonly source: "call" | "file";
  readonly place: Place;
}

export interface RevocationsOptions {
  readonly store: Store;
  readonly ledger: Ledger;
  readonly issuers: readonly IssuerConfig[];
  /** A file with more of them, read again when it changes; unset: there is none. */
  readonly file?: string | undefined;
  readonly log: Logger;
  readonly clock?: Clock | undefined;
}

/** Which tokens are refused though they have not expired: those that were revoked by call, and those of the revocation file. */
export class Revocations {
  readonly #ledger: Ledger;
  readonly #log: Logger;
  readonly #clock: Clock;
  /** issuer → how long its tokens may live, ms. */
  readonly #lifetimes: ReadonlyMap<string, number>;
  readonly #file: string | undefined;
  readonly #called = new Map<string, Revocation>();
  #filed = new Map<string, Revocation>();
  #fileFault: string | undefined;
  #reading: Promise<void> = Promise.resolve();
  readonly #listeners = new Set<() => void>();

  private constructor(options: RevocationsOptions) {
    this.#ledger = options.ledger;
    this.#log = options.log;
    this.#clock = options.clock ?? systemClock;
    this.#file = options.file;
    this.#lifetimes = new Map(
      options.issuers.map(({ issuer, maxLifetimeS = defaultMaxLifetimeS }) => [issuer, maxLifetimeS * 1000]),
    );
  }

  /** Those of the store, and of the file; rejects where the file cannot be used. */
  static async open(options: RevocationsOptions): Promise<Revocations> {
    const revocations = new Revocations(options);
    for (const one of await options.store.revocations()) revocations.#called.set(keyOf(one), one);
    await revocations.#watchFile();
    return revocations;
  }

  /** Throws TOKEN_REVOKED for a token that was revoked, or was issued before its subject's were. */
  check({ issuer, tokenId, subject, issueTime }: Principal): void {
    for (const all of [this.#called, this.#filed]) {
      if (all.size === 0) continue;
      const ofToken = all.has(keyOf({ issuer, tokenId, subject: "" }));
      const ofSubject = issueTime < (all.get(keyOf({ issuer, tokenId: "", subject }))?.issuedBefore ?? 0);
      if (!ofToken && !ofSubject) continue;
      throw new MissionControlError(
        "TOKEN_REVOKED",
        ofToken
          ? "the token was revoked"
          : "the tokens of this caller that were issued until then were revoked: get a new one",
      );
    }
  }

  /**
   * Revokes, durably, and then at once. Rejects with INVALID_ARGUMENT for an issuer that is not known here, and for a moment too
   * far ahead.
   */
  async revoke({ issuer, tokenId, subject, issuedBefore, by, intentEntryId, ...asked }: Revoke): Promise<Revocation> {
    // It may be the token itself that was pasted there.
    const reason = hideTokens(asked.reason);
    const now = this.#clock.date();
    const lifetime = this.#lifetimes.get(issuer);
    if (lifetime === undefined) {
      const known = [...this.#lifetimes.keys()].join(", ");
      throw invalid("issuer", `is none whose tokens are accepted here: write it exactly like one of ${known}`);
    }
    if ((issuedBefore ?? 0) > now + maxAheadMs)
      throw invalid("issued_before", "is more than a day ahead: this is no ban");
    this.#prune(now);
    const key = keyOf({ issuer, tokenId, subject });
    const before = this.#called.get(key);
    if (before === undefined && this.#called.size >= maxRevocations) {
      throw new MissionControlError(
        "TOO_MANY_REVOCATIONS",
        `there are ${maxRevocations} revocations already: revoke all tokens of a subject, or withdraw the issuer's key`,
      );
    }
    // The clock of the issuer may be ahead: what was issued just now is meant too.
    const moment = tokenId === "" ? Math.max(issuedBefore ?? now + toleranceMs, before?.issuedBefore ?? 0) : 0;
    const revocation: Revocation = {
      issuer,
      tokenId,
      subject,
      issuedBefore: moment,
      reason,
      revokedBy: by.subject,
      revokeTime: now,
      expireTime: Math.max(moment, now) + lifetime + 2 * toleranceMs,
      intentEntryId,
    };
    await this.#ledger.append(
      {
        phase: AuditEntry_Phase.SYSTEM,
        action: "tokens.revoked",
        intentEntryId,
        reason,
        message: `by ${by.subject}: ${describe(revocation)}`,
      },
      { revocations: [revocation] },
    );
    // Two at the same time: the later moment stands, as in the store, which wrote them in this order.
    this.#called.set(key, revocation);
    this.#tell();
    return revocation;
  }

  /** All that are in force, the newest first; only those behind a place in that order, where one is given. */
  list(behind?: Place): Listed[] {
    this.#prune(this.#clock.date());
    const listed = (source: Listed["source"], all: ReadonlyMap<string, Revocation>) =>
      [...all].map(([key, revocation]) => ({
        revocation,
        source,
        place: { time: revocation.revokeTime, key: `${source}\n${key}` },
      }));
    return [...listed("call", this.#called), ...listed("file", this.#filed)]
      .filter(({ place }) => behind === undefined || order(behind, place) < 0)
      .sort((a, b) => order(a.place, b.place));
  }

  /** How the revocation file stands; undefined: there is none. */
  get file(): { readonly fault: string | undefined; readonly count: number } | undefined {
    return this.#file === undefined ? undefined : { fault: this.#fileFault, count: this.#filed.size };
  }

  /** Calls back whenever more, or others, are revoked; returns what calls that off. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    if (this.#file !== undefined) unwatchFile(this.#file, this.#onFileChange);
    await this.#reading;
  }

  #prune(now: number): void {
    for (const [key, { expireTime }] of this.#called) if (expireTime < now) this.#called.delete(key);
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  async #watchFile(): Promise<void> {
    if (this.#file === undefined) return;
    // By its state, not by events: they get lost where a file is replaced, or lies on a share.
    watchFile(this.#file, { interval: lookEveryMs, persistent: false }, this.#onFileChange);
    try {
      await this.#take(await readRevocationFile(this.#file));
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  readonly #onFileChange = (): void => {
    this.#reading = this.#reading.then(() => this.#readAgain());
  };

  /** A file that cannot be used leaves in force what the last one said, loudly. */
  async #readAgain(): Promise<void> {
    try {
      await this.#take(await readRevocationFile(this.#file ?? ""));
      this.#fileFault = undefined;
    } catch (error) {
      this.#fileFault = error instanceof Error ? error.message : String(error);
      this.#log.error({ err: error }, "the revocation file cannot be used: what the last one revoked stays revoked");
    }
  }

  /** In force first, then told: a ledger that cannot be written must not let a revoked token in. */
  async #take(entries: readonly FileRevocation[]): Promise<void> {
    const now = this.#clock.date();
    this.#filed = new Map(
      entries.map((entry) => {
        const { issuer, token_id: tokenId = "", subject = "", issued_before: issuedBefore = 0, reason } = entry;
        const known = this.#filed.get(keyOf({ issuer, tokenId, subject }));
        const one: Revocation = {
          issuer,
          tokenId,
          subject,
          issuedBefore,
          reason,
          revokedBy: "",
          revokeTime: known?.revokeTime ?? now,
          expireTime: Number.MAX_SAFE_INTEGER,
          intentEntryId: "",
        };
        return [keyOf(one), one];
      }),
    );
    this.#tell();
    const unknown = new Set(entries.map(({ issuer }) => issuer).filter((issuer) => !this.#lifetimes.has(issuer)));
    if (unknown.size > 0)
      this.#log.warn({ issuers: [...unknown] }, "the revocation file names issuers that are none here");
    await this.#ledger
      .append({
        phase: AuditEntry_Phase.SYSTEM,
        action: "tokens.revocation_file",
        message: `the revocation file was read: ${this.#filed.size} revocations in force`,
      })
      .catch((error: unknown) =>
        this.#log.error({ err: error }, "that the revocation file was read could not be recorded"),
      );
  }
}

function order(a: Place, b: Place): number {
  if (a.time !== b.time) return b.time - a.time;
  return a.key === b.key ? 0 : a.key < b.key ? -1 : 1;
}

/** None of the names can have a line break in it: a token that has one is refused. */
function keyOf({ issuer, tokenId, subject }: { issuer: string; tokenId: string; subject: string }): string {
  return `${issuer}\n${tokenId}\n${subject}`;
}

function describe({ issuer, tokenId, subject, issuedBefore }: Revocation): string {
  if (tokenId !== "") return `token ${tokenId} of ${issuer}`;
  return `tokens of ${subject} (${issuer}) that were issued before ${new Date(issuedBefore).toISOString()}`;
}

function invalid(field: string, description: string): MissionControlError {
  return new MissionControlError("INVALID_ARGUMENT", `${field} ${description}`, {
    violations: [{ field, description }],
  });
}
