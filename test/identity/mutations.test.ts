import { sign } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { createVerifier, type Verifier } from "../../src/identity/verify.ts";
import { createLog } from "../../src/log.ts";
import { call, doorOf } from "../fixture/protocols.ts";
import { type IdentityPort, startIdentityPort } from "./port.ts";
import { audience, b64, ec, es256, goodClaims, goodHeader, issuer, jwks, token } from "./tokens.ts";

const issuers = [{ issuer, audiences: [audience], jwks }];
const reasons = ["TOKEN_MALFORMED", "TOKEN_INVALID", "TOKEN_EXPIRED"];

let verifier: Verifier;
let port: IdentityPort;
beforeAll(async () => {
  verifier = await createVerifier({ issuers, roles: ["sre"], log: createLog("silent") });
  port = await startIdentityPort({ issuers });
});
afterAll(async () => {
  verifier.close();
  await port.close();
});

/** "OK", or the reason; what is none of ours is a crash. */
async function outcome(text: string): Promise<string> {
  try {
    await verifier.verify(text);
    return "OK";
  } catch (error) {
    const { name, reason } = error as { name: string; reason: string };
    return name === "MissionControlError" ? reason : `crash: ${String(error)}`;
  }
}

const anyJson = fc.jsonValue({ maxDepth: 2 });
const anyText = fc.oneof(fc.string({ unit: "binary", maxLength: 40 }), fc.string({ maxLength: 40 }));
/** What is done to the text of a good token. */
const edit = fc.oneof(
  fc.record({ kind: fc.constant("replace" as const), at: fc.nat(), by: anyText, length: fc.nat(4) }),
  fc.record({ kind: fc.constant("cut" as const), at: fc.nat(), by: fc.constant(""), length: fc.nat() }),
  fc.record({ kind: fc.constant("repeat" as const), at: fc.nat(), by: fc.constant(""), length: fc.nat(200) }),
);

function edited(good: string, edits: readonly { kind: string; at: number; by: string; length: number }[]): string {
  return edits.reduce((text, { kind, at, by, length }) => {
    const from = text.length === 0 ? 0 : at % text.length;
    if (kind === "cut") return text.slice(0, from) + text.slice(from + (length % 50) + 1);
    if (kind === "repeat") return text.slice(0, from) + text.slice(from, from + length) + text.slice(from);
    return text.slice(0, from) + by + text.slice(from + length);
  }, good);
}

it("no token whose text was changed anywhere is accepted, and none crashes", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
      const good = token();
      const bad = edited(good, edits);
      if (bad === good) return;
      expect(reasons).toContain(await outcome(bad));
    }),
    { numRuns: 1500 },
  );
});

it("no token with a single bit of its signature flipped is accepted", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 511 }), async (bit) => {
      const [header, claims, signature = ""] = token().split(".");
      const bytes = Buffer.from(signature, "base64url");
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(await outcome(`${header}.${claims}.${bytes.toString("base64url")}`)).toBe("TOKEN_INVALID");
    }),
    { numRuns: 300 },
  );
});

it("no token that another signed is accepted, whatever header and claims say", async () => {
  const member = fc.oneof(fc.constantFrom(...Object.keys(goodHeader), "jwk", "jku", "x5c", "crit", "b64"), fc.string());
  await fc.assert(
    fc.asyncProperty(fc.dictionary(member, anyJson), fc.dictionary(fc.string(), anyJson), async (header, claims) => {
      const input = `${b64({ ...goodHeader, ...header })}.${b64({ ...goodClaims(), ...claims })}`;
      const der = sign("sha512", Buffer.from(input), ec.privateKey).toString("base64url");
      expect(reasons).toContain(await outcome(`${input}.${der}`));
    }),
    { numRuns: 500 },
  );
});

it("a well signed token with any claim replaced by anything is accepted with that claim as it has to be, or refused", async () => {
  const claim = fc.constantFrom(...Object.keys(goodClaims()), "nbf", "cnf", "auth_time", "amr", "acr", "name");
  await fc.assert(
    fc.asyncProperty(claim, fc.option(anyJson, { nil: undefined }), async (name, value) => {
      const what = await outcome(token({}, { [name]: value }));
      expect([...reasons, "OK"]).toContain(what);
      if (what !== "OK") return;
      if (["iss", "aud", "exp", "iat"].includes(name)) expect(value).toBeDefined();
      if (name === "sub" || name === "jti") expect(value).toMatch(/\S/);
      if (name === "roles") expect(Array.isArray(value) || value === undefined).toBe(true);
      if (name === "cnf") expect(value).toBeUndefined();
    }),
    { numRuns: 1000 },
  );
});

it("a well signed token with any header is accepted only with what the header has to be", async () => {
  const member = fc.constantFrom("alg", "kid", "typ", "crit", "jku", "jwk", "x5u", "x5c", "b64", "cty");
  await fc.assert(
    fc.asyncProperty(member, anyJson, async (name, value) => {
      const what = await outcome(token({ [name]: value }, {}, (input) => es256(input)));
      expect([...reasons, "OK"]).toContain(what);
      if (what !== "OK") return;
      expect(["typ", "cty", "b64"]).toContain(name);
      if (name === "typ") expect(String(value).toLowerCase()).toMatch(/^(application\/)?at\+jwt$/);
    }),
    { numRuns: 500 },
  );
});

it("over the port, whatever is sent as a token is UNAUTHENTICATED, and nothing runs or is logged", async () => {
  const header = fc.oneof(
    fc.string({ maxLength: 200 }),
    fc.array(edit, { minLength: 1, maxLength: 3 }).map((edits) => `Bearer ${edited(token(), edits)}`),
    fc.constantFrom(
      "Bearer",
      "Bearer ",
      "bearer a.b.c",
      "Basic YTpi",
      "Bearer a.b.c, Bearer a.b.c",
      "Bearer ..",
      "DPoP a.b.c",
    ),
  );
  const door = doorOf(MissionControl.method.pauseWorkflow, "rest");
  await fc.assert(
    fc.asyncProperty(header, async (authorization) => {
      // A header has printable characters only: what has others never leaves a client.
      if (!/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(authorization) || /^Bearer ey[\w-]+\.ey/.test(authorization))
        return;
      const answer = await call(door, port.url, { workflowId: "restate:inv_1", reason: "r" }, { authorization });
      expect(answer).toMatchObject({ code: "UNAUTHENTICATED" });
    }),
    { numRuns: 200 },
  );
  expect(port.reached).toEqual([]);
  expect(port.lines).toEqual([]);
});
