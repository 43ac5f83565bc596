import { createHash } from "node:crypto";
import { type DescMessage, type MessageShape, ScalarType, toBinary } from "@bufbuild/protobuf";

/**
 * SHA-256 over a request: its type's full name, a zero byte, and its canonical bytes. These are the request encoded anew by
 * us: fields in the order of their numbers, defaults left out, fields that this server does not know left out, so that the
 * same request has the same digest whatever protocol it came by. Maps have no order to encode in; `hasOneForm` tells which
 * messages are free of them, and only these may be digested.
 */
export function requestDigest<Desc extends DescMessage>(schema: Desc, request: MessageShape<Desc>): Uint8Array {
  return createHash("sha256")
    .update(`${schema.typeName}\0`)
    .update(toBinary(schema, request, { writeUnknownFields: false }))
    .digest();
}

/** True where the message, with all that it contains, has one encoding only: no map and no floating-point field in it. */
export function hasOneForm(schema: DescMessage, seen = new Set<string>()): boolean {
  if (seen.has(schema.typeName)) return true;
  seen.add(schema.typeName);
  return schema.fields.every((field) => {
    if (field.fieldKind === "map") return false;
    if (field.scalar === ScalarType.DOUBLE || field.scalar === ScalarType.FLOAT) return false;
    return field.message === undefined || hasOneForm(field.message, seen);
  });
}
