import { LRUCache } from "lru-cache";
import { MissionControlError } from "../errors.ts";
import { ProofError } from "../proof/proof-error.ts";
import { noteOfHeader, openSignedRequest } from "../proof/signed-request.ts";
import type { VerifierKey } from "../proof/verifier-key.ts";
import type { Principal } from "./principal.ts";

/** How far a signature's time may be from now, either way, ms; so long it is remembered, and taken once. */
const windowMs = 5 * 60 * 1000;
/** Signatures that are remembered; while so many are, no other is taken. */
const maxNonces = 100_000;

/** A key that is registered for somebody. */
export interface OperatorKey {
  readonly issuer: string;
  readonly subject: string;
  readonly key: VerifierKey;
}

export interface OperatorKeysConfig {
  readonly keys: readonly OperatorKey[];
  /** Callers with one of these roles have to sign their control calls. */
  readonly requiredRoles: readonly string[];
  /** Control calls that need one of these permissions have to be signed. */
  readonly requiredPermissions: readonly string[];
}

/** What has to be signed, and by whom. */
export interface ToBeSigned {
  readonly principal: Principal;
  readonly method: string;
  readonly permission: string;
  readonly digest: Uint8Array;
  /** The header as it came; null: none. */
  readonly header: string | null;
}

/** Holds signatures of requests against the keys that are registered for their callers. */
export class OperatorKeys {
  readonly #config: OperatorKeysConfig;
  readonly #nonces: LRUCache<string, true>;

  /** @param memory how many signatures are remembered, and by which clock. */
  constructor(
    config: OperatorKeysConfig = { keys: [], requiredRoles: [], requiredPermissions: [] },
    memory: { readonly max?: number; readonly perf?: { now(): number } } = {},
  ) {
    this.#config = config;
    this.#nonces = new LRUCache({ max: maxNonces, ttl: 2 * windowMs, ttlResolution: 0, ...memory });
  }

  /**
   * The signed note, for the ledger; undefined where there is none and none is needed.
   *
   * @throws MissionControlError SIGNATURE_REQUIRED; SIGNATURE_INVALID where it is not of this call, by a key of the caller's, of
   * now, and for the first time.
   */
  verify({ principal, method, permission, digest, header }: ToBeSigned, now = Date.now()): string | undefined {
    if (header === null) {
      const { requiredRoles, requiredPermissions } = this.#config;
      const role = principal.roles.find((one) => requiredRoles.includes(one));
      if (role === undefined && !requiredPermissions.includes(permission)) return undefined;
      const who = role === undefined ? `who uses the permission ${permission}` : `the role ${role}`;
      throw new MissionControlError("SIGNATURE_REQUIRED", `${who} has to sign control calls (mctl: --signing-key)`);
    }
    try {
      const note = noteOfHeader(header);
      const signed = openSignedRequest(note);
      const { issuer, subject } = principal;
      const isTheirs = this.#config.keys.some(
        (one) => one.issuer === issuer && one.subject === subject && one.key.text === signed.key.text,
      );
      if (!isTheirs) throw invalid(`the key ${signed.key.name} ${signed.key.id} is not registered for ${subject}`);
      if (signed.method !== method || Buffer.compare(signed.digest, digest) !== 0) {
        throw invalid("what was signed is another request");
      }
      if (Math.abs(Date.parse(signed.time) - now) > windowMs) throw invalid(`it was signed at ${signed.time}, not now`);
      const once = `${signed.key.id} ${signed.nonce}`;
      if (this.#nonces.has(once)) throw invalid("it was used before");
      // Those whose time is over are still counted until they are thrown out.
      if (this.#nonces.size >= this.#nonces.max && !this.#nonces.purgeStale())
        throw invalid("too many were used in the last minutes");
      this.#nonces.set(once, true);
      return note;
    } catch (error) {
      if (error instanceof ProofError) throw invalid(error.message);
      throw error;
    }
  }
}

function invalid(why: string): MissionControlError {
  return new MissionControlError("SIGNATURE_INVALID", `the request's signature is not good: ${why}`);
}
