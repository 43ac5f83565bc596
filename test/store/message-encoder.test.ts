import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, it } from "vitest";
import { AuditEntrySchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { createEncoder } from "../../src/store/message-encoder.ts";

const encode = createEncoder(AuditEntrySchema);
const text = fc.string({ unit: "binary", maxLength: 300 });
const bytes = fc.uint8Array({ maxLength: 200 });
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const some = fc.option(fc.constant(true), { nil: undefined });

const entries = fc
  .record({
    entryId: text,
    sequence: int64,
    time: fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
    phase: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    target: fc.string({ unit: "grapheme", maxLength: 6000 }),
    requestDigest: bytes,
    emergency: fc.boolean(),
    count: int64,
    principal: some,
    roles: fc.array(text, { maxLength: 5 }),
    seconds: int64,
    nanos: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    commitments: fc.array(fc.record({ field: fc.integer({ min: 0, max: 7 }), hash: bytes }), { maxLength: 9 }),
  })
  .map(({ principal, roles, time, seconds, nanos, ...fields }) =>
    create(AuditEntrySchema, {
      ...fields,
      time: timestampFromMs(time),
      duration: { seconds, nanos },
      ...(principal && { principal: { roles, subject: fields.target } }),
    } as never),
  );

it("writes the very bytes that the library writes", () => {
  fc.assert(
    fc.property(entries, (entry) => {
      const written = encode(entry);
      expect(Buffer.from(written).equals(toBinary(AuditEntrySchema, entry))).toBe(true);
    }),
    { numRuns: 500 },
  );
});

it("gives bytes that the next entry does not overwrite", () => {
  const first = encode(create(AuditEntrySchema, { reason: "one" }));
  encode(create(AuditEntrySchema, { reason: "two" }));
  expect(fromBinary(AuditEntrySchema, first).reason).toBe("one");
});

it("refuses a message that has what it cannot write", () => {
  expect(() => createEncoder(ValueSchema)).toThrow("google.protobuf.Value");
});
