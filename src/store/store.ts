import type { AuditEntry, AuditEntry_Phase, AuditEntry_Verdict } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Disclosure } from "../../gen/missioncontrol/v1/audit_personal_pb.ts";
import type { Brake, BrakeState, Held, Hold } from "./brake.ts";
import type { RunChange, RunStore } from "./gate-runs.ts";
import type { StoredGateToken } from "./gate-tokens.ts";
import type { ProofStore } from "./proof-store.ts";
import type { Revocation } from "./revocations.ts";

/**
 * What must last: the ledger, the brakes, the answers to idempotent requests, the revocations, the gate tokens and what gate
 * engines keep, in one database.
 *
 * `commit` writes all of a change in one transaction or nothing of it, in the order of the calls, and resolves only when it
 * is durable (it survives a power loss). Changes that wait at the same time share one disk write. It rejects with
 * MissionControlError LEDGER_UNAVAILABLE where it could not write.
 */
export interface Store {
  /** What the proofs over the ledger are made from. */
  readonly proofs: ProofStore;
  /** What gate engines keep. */
  readonly gateRuns: RunStore;
  /** Resolves to the change's entries with their sequence, as stored. */
  commit(change: Change): Promise<AuditEntry[]>;
  /** Entries with what is left of their personal values, the newest first. */
  listEntries(query: EntryQuery): Promise<EntryPage>;
  /** One entry as it is stored. */
  storedEntry(entryId: string): Promise<StoredEntry | undefined>;
  /** Entries as they are stored, behind that sequence, the oldest first, at most 1000. */
  storedEntries(after: bigint, limit: number): Promise<StoredEntry[]>;
  /** The sequence of the newest entry that is durable; 0n: there is none. */
  readonly head: bigint;
  /**
   * Erases the personal values of a person's entries, and their name on brakes that are over. Goes on for as long as it takes,
   * in slices between which others are served; ends early, and can be called again, where the signal says so.
   */
  eraseSubject(subject: string, signal?: AbortSignal): Promise<Erasure>;
  /** The sequence up to which all entries are older than that moment (ms since the epoch), and no intent is open. */
  olderThan(time: number): Promise<bigint>;
  /**
   * Deletes the entries up to that sequence, with their personal values, in slices between which others are served; a signal
   * ends it early. What proves the others has to be durable before. Returns how many it deleted.
   */
  prune(upTo: bigint, signal?: AbortSignal): Promise<number>;
  /** How many INTENT entries no OUTCOME ends. */
  readonly openIntentCount: number;
  /** INTENT entries that no OUTCOME ends, the oldest first. */
  openIntents(): Promise<AuditEntry[]>;
  /** Brakes that hold, wait for approval, or have holds that are not settled; the oldest first. */
  activeBrakes(): Promise<Brake[]>;
  /** One brake. */
  brake(brakeId: string): Promise<Brake | undefined>;
  /** The brake that was engaged, approved or released by the intent: the entry that was written with its change says so. */
  brakeOfIntent(entryId: string): Promise<Brake | undefined>;
  /** Brakes, the newest first; of these states, and made before that one. */
  listBrakes(query: BrakeQuery): Promise<Brake[]>;
  /** All holds of a brake, in the order in which they were caught. */
  holdsOf(brakeId: string): Promise<Hold[]>;
  /** All holds that there ever were on a workflow, with their brakes, the oldest first, at most 1000. */
  heldOf(workflowId: string): Promise<Held[]>;
  /** The answer to an idempotent request that was answered before. */
  answer(key: string): Promise<Answer | undefined>;
  /** All revocations of tokens that may still be alive. */
  revocations(): Promise<Revocation[]>;
  /** The revocation that the intent took effect as. */
  revocationOfIntent(entryId: string): Promise<Revocation | undefined>;
  /** A gate token by its id, or by the SHA-256 of its secret. */
  gateToken(gateTokenId: string): Promise<StoredGateToken | undefined>;
  gateTokenByHash(hash: Uint8Array): Promise<StoredGateToken | undefined>;
  /** The gate token that was made or revoked by the intent. */
  gateTokenOfIntent(entryId: string): Promise<StoredGateToken | undefined>;
  /** Gate tokens, the newest first, at most 1000. */
  gateTokens(includeRevoked: boolean): Promise<StoredGateToken[]>;
  /** Writes what waits, then closes. */
  close(): Promise<void>;
}

/** What is written together. */
export interface Change {
  /** Entries to append, each without its sequence. */
  readonly entries: readonly AuditEntry[];
  /** Brakes to insert or to replace, by brakeId. */
  readonly brakes?: readonly Brake[] | undefined;
  /** Holds to insert or to replace, by brakeId and workflowId; the order of one never changes. */
  readonly holds?: readonly Hold[] | undefined;
  /** Answers to keep. */
  readonly answers?: readonly Answer[] | undefined;
  /** Revocations to insert or to replace, by their issuer with the token or the subject. */
  readonly revocations?: readonly Revocation[] | undefined;
  /** Gate tokens to insert or to replace, by gateTokenId. */
  readonly gateTokens?: readonly StoredGateToken[] | undefined;
  /** What changes of what gate engines keep. */
  readonly gateRuns?: RunChange | undefined;
}

/** The answer to an idempotent request, kept for at least 24 h. */
export interface Answer {
  /** Caller, method and request_id. */
  readonly key: string;
  /** SHA-256 over the request: the same key with another digest is an error. */
  readonly requestDigest: Uint8Array;
  /** The response message's bytes; empty while only the effect is known, not how the call ended. */
  readonly response: Uint8Array;
  /** The brake that the request took effect on; "" where it took none. */
  readonly brakeId: string;
  /** ms since the epoch. */
  readonly time: number;
}

/** An entry as it is stored. */
export interface StoredEntry {
  readonly sequence: bigint;
  /** The bytes of an AuditEntry without its personal values: what is hashed. */
  readonly bytes: Uint8Array;
  /** What is left of its personal values. */
  readonly disclosures: readonly Disclosure[];
}

/** Entries that match, the newest first. */
export interface EntryPage {
  readonly entries: AuditEntry[];
  /** Set where so many entries had been looked at that the look ended: there may be more before this sequence. */
  readonly lookedTo: bigint | undefined;
}

/** What was erased about a person. */
export interface Erasure {
  readonly entries: number;
  readonly brakes: number;
  /** Brakes that are not over yet, and name them. */
  readonly keptBrakeIds: readonly string[];
}

/** Which entries; all that is set has to match. */
export interface EntryQuery {
  readonly entryId?: string | undefined;
  readonly subject?: string | undefined;
  readonly actions?: readonly string[] | undefined;
  readonly target?: string | undefined;
  readonly callId?: string | undefined;
  readonly requestId?: string | undefined;
  readonly brakeId?: string | undefined;
  readonly verdict?: AuditEntry_Verdict | undefined;
  readonly phases?: readonly AuditEntry_Phase[] | undefined;
  /** ms since the epoch, inclusive. */
  readonly since?: number | undefined;
  /** ms since the epoch, exclusive. */
  readonly until?: number | undefined;
  /** Only entries behind this sequence, and before that one. */
  readonly after?: bigint | undefined;
  readonly before?: bigint | undefined;
  readonly limit: number;
}

/** Which brakes; all that is set has to match. */
export interface BrakeQuery {
  readonly states?: readonly BrakeState[] | undefined;
  /** Only brakes made before this one. */
  readonly before?: string | undefined;
  readonly limit: number;
}
