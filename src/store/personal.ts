import { hash, randomFillSync } from "node:crypto";
import type { AuditEntry } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { type Commitment, PersonalField as Field } from "../../gen/missioncontrol/v1/audit_personal_pb.ts";
import { WireOutput } from "./wire-output.ts";

const saltBytes = 16;

/** Random bytes are drawn for many salts at once: each draw costs as much as hashing a kilobyte. */
const pool = new Uint8Array(saltBytes * 512);
let drawn = pool.length;

/** Where salt and value of one disclosure are put together to be hashed; values are at most 4 bytes for each of 1024 characters. */
const together = Buffer.alloc(saltBytes + 4096);
/** Its first n bytes; made once for each n. */
const firstOfIt: Buffer[] = [];
/** Texts up to this length are faster written by a loop, where they are ASCII. */
const shortText = 96;

/** The wire format of Disclosures and Disclosure: each field's number and kind in one byte. */
const tags = { disclosures: 0x0a, field: 0x08, salt: 0x12, value: 0x1a } as const;
const out = new WireOutput();

/** The fields of an entry that are never stored in it, by their full names. */
export const personalFields = [
  "missioncontrol.v1.Principal.subject",
  "missioncontrol.v1.Principal.token_id",
  "missioncontrol.v1.Principal.source_address",
  "missioncontrol.v1.AuditEntry.reason",
  "missioncontrol.v1.AuditEntry.message",
  "missioncontrol.v1.Decision.message",
  "missioncontrol.v1.AuditEntry.request_digest",
  "missioncontrol.v1.AuditEntry.request_signature",
] as const;

/** What an entry keeps of its personal values, and what is kept beside it for as long as nobody erases it. */
export interface Concealed {
  readonly commitments: Commitment[];
  /** The bytes of a Disclosures message; none where there is nothing to keep. */
  readonly disclosures: Uint8Array;
}

/** A commitment for each personal value that is not empty, each with a salt of its own. */
export function conceal({
  principal,
  decision,
  reason,
  message,
  requestDigest,
  requestSignature,
}: AuditEntry): Concealed {
  const commitments: Commitment[] = [];
  out.clear();
  if (principal) {
    hide(commitments, Field.SUBJECT, principal.subject);
    hide(commitments, Field.TOKEN_ID, principal.tokenId);
    hide(commitments, Field.SOURCE_ADDRESS, principal.sourceAddress);
  }
  hide(commitments, Field.REASON, reason);
  hide(commitments, Field.MESSAGE, message);
  if (decision) hide(commitments, Field.DECISION_MESSAGE, decision.message);
  hide(commitments, Field.REQUEST_DIGEST, requestDigest);
  hide(commitments, Field.REQUEST_SIGNATURE, requestSignature);
  return { commitments, disclosures: out.copy() };
}

/** Every call pays for this several times over: it makes nothing but the commitment. */
function hide(commitments: Commitment[], field: Field, value: string | Uint8Array): void {
  if (value.length === 0) return;
  drawSalt();
  const end = saltBytes + putValue(value);
  firstOfIt[end] ??= together.subarray(0, end);
  commitments.push({
    $typeName: "missioncontrol.v1.Commitment",
    field,
    hash: fromBinaryText(hash("sha256", firstOfIt[end], "binary")),
  });
  out.varint(tags.disclosures);
  const start = out.begin();
  out.varint(tags.field);
  out.varint(field);
  out.varint(tags.salt);
  out.bytes(together, 0, saltBytes);
  out.varint(tags.value);
  out.bytes(together, saltBytes, end);
  out.end(start);
}

/** Puts a salt of its own at the front of what is hashed. */
function drawSalt(): void {
  if (drawn === pool.length) {
    randomFillSync(pool);
    drawn = 0;
  }
  for (let at = 0; at < saltBytes; at++) together[at] = pool[drawn + at] as number;
  drawn += saltBytes;
}

/** Puts a value behind the salt; returns how many bytes it has. */
function putValue(value: string | Uint8Array): number {
  if (typeof value !== "string") {
    together.set(value, saltBytes);
    return value.length;
  }
  const { length } = value;
  for (let at = 0; length <= shortText; at++) {
    if (at === length) return length;
    const code = value.charCodeAt(at);
    if (code > 0x7f) break;
    together[saltBytes + at] = code;
  }
  return together.write(value, saltBytes);
}

/** A digest that was made as text, one character for a byte: four times as fast as a buffer of its own for each. */
function fromBinaryText(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}
