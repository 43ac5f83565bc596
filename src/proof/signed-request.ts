import { randomBytes } from "node:crypto";
import type { AuditEntry } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { fromBase64, toBase64 } from "./base64.ts";
import { isSignedBy, type NoteSigner, parseNote, signNote } from "./note.ts";
import { ProofError } from "./proof-error.ts";
import { parseVerifierKey, type VerifierKey } from "./verifier-key.ts";

/** The header of a request that its caller signed: the note, as base64url. */
export const signatureHeader = "mission-control-signature";

const title = "mission-control signed request v1";
/** Characters of the header. */
const maxHeader = 2048;

/** What a caller signs: this very call, and no other. */
export interface SignedRequest {
  /** Their public key. */
  readonly key: VerifierKey;
  /** "package.Service/Method". */
  readonly method: string;
  /** The request's digest: `requestDigest` without its secrets. */
  readonly digest: Uint8Array;
  /** When it was signed, RFC 3339 in UTC, ms. */
  readonly time: string;
  /** Random, so that no two are the same. */
  readonly nonce: string;
}

/** Signs a request: a C2SP signed note, as the header has it. */
export function signRequest(signer: NoteSigner, method: string, digest: Uint8Array, now: number): string {
  const [time, nonce] = [new Date(now).toISOString(), randomBytes(16).toString("base64url")];
  const text = `${[title, signer.key.text, method, toBase64(digest), time, nonce].join("\n")}\n`;
  return Buffer.from(signNote(text, [signer])).toString("base64url");
}

/** The note of a header. Throws ProofError where it is none. */
export function noteOfHeader(header: string): string {
  if (header.length > maxHeader || !/^[\w-]+$/.test(header)) {
    throw new ProofError(`${signatureHeader} is not a signed note as base64url`);
  }
  return Buffer.from(header, "base64url").toString();
}

/** What a note says was signed, by the key that it names itself: whose key that is, is for others to know. Throws ProofError. */
export function openSignedRequest(note: string): SignedRequest {
  const parsed = parseNote(note);
  const [head, key = "", method = "", digest = "", time = "", nonce = "", ...rest] = parsed.text.split("\n");
  if (head !== title || rest.length !== 1 || nonce.length < 16 || Number.isNaN(Date.parse(time))) {
    throw new ProofError("this is not a note of a signed request");
  }
  const signer = parseVerifierKey(key);
  if (!isSignedBy(parsed, signer))
    throw new ProofError(`the request is not signed by the key ${signer.id} that it names`);
  return { key: signer, method, digest: fromBase64(digest, "the request's digest"), time, nonce };
}

/**
 * Holds the signature in an entry against the entry: it is one, over this very call. Undefined where there is none, or where it
 * was erased.
 *
 * @throws ProofError where it is of another call.
 */
export function signatureOf({
  requestSignature,
  method,
  requestDigest,
  sequence,
}: AuditEntry): SignedRequest | undefined {
  if (requestSignature === "") return undefined;
  const signed = openSignedRequest(requestSignature);
  const isSame = requestDigest.length === 0 || Buffer.compare(signed.digest, requestDigest) === 0;
  if (signed.method === method && isSame) return signed;
  throw new ProofError(`the signature in entry ${sequence} is of another request`);
}
