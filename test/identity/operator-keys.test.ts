import { generateKeyPairSync } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { AuditEntrySchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { OperatorKeys } from "../../src/identity/operator-keys.ts";
import type { Principal } from "../../src/identity/principal.ts";
import type { NoteSigner } from "../../src/proof/note.ts";
import { signatureOf, signRequest } from "../../src/proof/signed-request.ts";
import { verifierKey } from "../../src/proof/verifier-key.ts";

function signer(name: string): NoteSigner {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
  return { key: verifierKey(name, raw), privateKey };
}

const [alice, mallory] = [signer("alice"), signer("alice")];
const method = "missioncontrol.v1.MissionControl/PauseWorkflow";
const digest = new Uint8Array(32).fill(1);
const now = Date.UTC(2026, 10, 28);
const principal = { issuer: "https://a.example", subject: "alice", roles: ["sre"] } as unknown as Principal;

const keys = (remembered = {}) =>
  new OperatorKeys(
    {
      keys: [{ issuer: "https://a.example", subject: "alice", key: alice.key }],
      requiredRoles: ["sre_admin"],
      requiredPermissions: ["brakes.release"],
    },
    remembered,
  );
const call = (header: string | null, more: object = {}) => ({
  principal,
  method,
  permission: "workflows.pause",
  digest,
  header,
  ...more,
});
const signed = (by = alice, over = digest, what = method, at = now) => signRequest(by, what, over, at);

it("a signature in an entry counts for that call alone", () => {
  const requestSignature = keys().verify(call(signed()), now) ?? "";
  const entry = { requestSignature, method, requestDigest: digest, sequence: 7n };
  const read = (more: object) => signatureOf(create(AuditEntrySchema, { ...entry, ...more }));
  expect(read({})).toMatchObject({ method, key: alice.key });
  expect(read({ requestDigest: new Uint8Array() })).toBeDefined();
  const another = "the signature in entry 7 is of another request";
  expect(() => read({ method: "missioncontrol.v1.MissionControl/ResumeWorkflow" })).toThrow(another);
  expect(() => read({ requestDigest: new Uint8Array(32).fill(2) })).toThrow(another);
});

describe("a control call", () => {
  it("signed by its caller is taken, once", () => {
    const operator = keys();
    const header = signed();
    expect(operator.verify(call(header), now)).toMatch(/^mission-control signed request v1\nalice\+/);
    expect(() => operator.verify(call(header), now)).toThrow(/it was used before/);
    expect(operator.verify(call(signed()), now)).toBeDefined();
  });

  it.each<[string, string, object?, RegExp?]>([
    ["by another key of the same name", signed(mallory), {}, /is not registered for alice/],
    [
      "by a key that is registered for somebody else",
      signed(),
      { principal: { ...principal, subject: "bob" } },
      /not registered for bob/,
    ],
    [
      "by a key that is registered at another issuer",
      signed(),
      { principal: { ...principal, issuer: "https://b.example" } },
      /not registered/,
    ],
    ["over another request", signed(alice, new Uint8Array(32)), {}, /is another request/],
    [
      "over another method",
      signed(alice, digest, "missioncontrol.v1.MissionControl/ResumeWorkflow"),
      {},
      /is another request/,
    ],
    ["long ago", signed(alice, digest, method, now - 6 * 60_000), {}, /not now/],
    ["in the future", signed(alice, digest, method, now + 6 * 60_000), {}, /not now/],
    [
      "with a bit turned",
      Buffer.from(Buffer.from(signed(), "base64url").toString().replace("PauseW", "PauseV")).toString("base64url"),
      {},
      /the signature of alice .* is wrong/,
    ],
    ["with what is no note", Buffer.from("hello").toString("base64url"), {}, /not a signed note/],
    ["with what is no header", "***", {}, /as base64url/],
    ["at length", "A".repeat(3000), {}, /as base64url/],
  ])("signed %s is refused", (_, header, more, why) => {
    expect(() => keys().verify(call(header, more), now)).toThrow(
      expect.objectContaining({ reason: "SIGNATURE_INVALID", message: expect.stringMatching(why as RegExp) }),
    );
  });

  it("is refused while as many signatures are remembered as can be, so that none is taken twice; they run out", () => {
    let clock = 1;
    const operator = keys({ max: 2, perf: { now: () => clock } });
    const first = signed();
    for (const header of [first, signed()]) expect(operator.verify(call(header), now)).toBeDefined();
    const tooMany = expect.objectContaining({
      reason: "SIGNATURE_INVALID",
      message: expect.stringMatching(/too many/),
    });
    expect(() => operator.verify(call(signed()), now)).toThrow(tooMany);
    // As long as its time is good.
    clock += 9.9 * 60_000;
    expect(() => operator.verify(call(signed()), now)).toThrow(tooMany);
    expect(() => operator.verify(call(first), now)).toThrow(/it was used before/);
    clock += 0.2 * 60_000;
    for (const header of [signed(), signed()]) expect(operator.verify(call(header), now)).toBeDefined();
    expect(() => operator.verify(call(signed()), now)).toThrow(tooMany);
  });

  it("that is not signed is taken, but for roles and permissions that have to", () => {
    expect(keys().verify(call(null), now)).toBeUndefined();
    const required = expect.objectContaining({ reason: "SIGNATURE_REQUIRED" });
    expect(() =>
      keys().verify(call(null, { principal: { ...principal, roles: ["viewer", "sre_admin"] } }), now),
    ).toThrow(required);
    expect(() => keys().verify(call(null, { permission: "brakes.release" }), now)).toThrow(required);
    expect(new OperatorKeys().verify(call(null), now)).toBeUndefined();
  });
});
