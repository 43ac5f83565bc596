import fc from "fast-check";
import { expect, test } from "vitest";
import { keptInputs, keptInputsOf } from "../../../src/engines/gate/inputs.ts";

const config = { redact: ["iban", "customer.address"], maxBytes: 4096 };
const kept = (given: unknown, differs: Partial<typeof config> = {}) => keptInputs(given, { ...config, ...differs });

test("nothing is kept where nothing was said, and nothing of nothing", () => {
  expect(keptInputs({ amount: 3 }, undefined)).toBeUndefined();
  expect(keptInputsOf('{"amount": 3}', undefined)).toBeUndefined();
  for (const none of [undefined, null]) expect(kept(none)).toBeUndefined();
  expect(keptInputsOf("", config)).toBeUndefined();
  expect(kept({ amount: 3, to: ["a", true, null] })).toBe('{"amount":3,"to":["a",true,null]}');
});

test.each([
  [{ password: "s3cret" }],
  [{ "DB-Password": { main: "s3cret" } }],
  [{ deep: [{ er: { apiKey: "s3cret" } }] }],
  [{ API_KEY: ["s3cret"] }],
  [{ "x-api-key": "s3cret" }],
  [{ clientSecret: "s3cret" }],
  [{ accessTokens: ["s3cret"] }],
  [{ ｐａｓｓｗｏｒｄ: "s3cret" }],
  [{ Cookie: "sid=s3cret" }],
  [{ headers: [{ name: "Authorization", value: "Bearer s3cret" }] }],
  [{ env: [{ Key: "AWS_SECRET", Value: "s3cret" }] }],
  [{ headers: [["authorization", "s3cret"]] }],
  [{ body: '{"login": {"password": "s3cret"}}' }],
  [{ body: ' [{"token": "s3cret"}]' }],
  [{ command: "curl -H 'Authorization: Bearer s3cret' https://x" }],
  [{ command: "deploy --api-key=s3cret --now" }],
  [{ query: "https://alice:s3cret@example.com/x?a=1" }],
  [{ query: "https://example.com/x?access_token=s3cret&a=1" }],
  ["password: s3cret"],
  ['{"password": "in two s3cret, words", and no JSON'],
  ['password="with \\"a quote\\" in s3cret"'],
  ["PASSWORD = 'a; b s3cret'"],
  ['sent "{\\"password\\": \\"in two s3cret\\"}"'],
  [`token=${"x".repeat(5_000)}s3cret`],
  [{ IBAN: "s3cret" }],
  [{ from: { iban_of_payer: "s3cret" } }],
  [{ customer: { name: "A", Address: "s3cret" } }],
  [{ customer: [{ address: { street: "s3cret" } }] }],
] as unknown[][])("a secret is left out of %j", (given) => {
  expect(JSON.stringify(given)).toContain("s3cret");
  expect(kept(given)).toContain("(redacted)");
  expect(kept(given)).not.toContain("s3cret");
  expect(keptInputsOf(JSON.stringify(given), config)).toBe(kept(given));
});

test("tokens are hidden in any text and in keys; what only sounds like a secret stays", () => {
  const token = `mcgt_${"a".repeat(43)}`;
  expect(kept({ note: `use ${token}`, [token]: 1 })).toBe('{"note":"use (token)","(token)":1}');
  const harmless = { address: "Main St", max_tokens: 512, note: "the author said so", customers: { address: "x" } };
  expect(JSON.parse(kept(harmless) ?? "")).toEqual(harmless);
});

test("what is too long is cut with a mark that says so, no character in two", () => {
  const cut = kept({ text: "ä".repeat(5_000) }, { maxBytes: 100 }) ?? "";
  expect(cut).toMatch(/^\{"text":"ä{45}… \(cut: 10011 bytes\)$/);
  expect(kept({ text: "x".repeat(50) }, { maxBytes: 100 })).not.toContain("cut");
});

test("what is no JSON is not kept; what is nested without an end ends", () => {
  expect(keptInputsOf("password s3cret", config)).toBe('"(left out: it is no JSON)"');
  const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
  expect(keptInputsOf(deep, config)).toContain("too deep");
  const inText = Array.from({ length: 12 }).reduce<unknown>((inner) => ({ a: JSON.stringify(inner) }), "s3cret");
  expect(kept(inText, { maxBytes: 65_536 })).toBeDefined();
  expect(kept(JSON.parse('{"__proto__": {"a": 1}}'))).toBe('{"__proto__":{"a":1}}');
});

test("whatever is given, what stands under a secret's key is gone, and the size is kept to", () => {
  const canary = "canary-7f3a9";
  const secret = fc.constantFrom("password", "Api-Key", "session_id", "iban");
  const around = (inner: unknown) =>
    fc.array(fc.constantFrom("list", "object", "text"), { maxLength: 5 }).map((ways) =>
      ways.reduce<unknown>((value, way) => {
        if (way === "list") return [value, 1, 2];
        return way === "object" ? { x: value } : JSON.stringify([value]);
      }, inner),
    );
  const given = fc
    .tuple(secret, fc.jsonValue())
    .chain(([key, other]) => around({ other, [key]: { [canary]: [canary] } }))
    .chain((inner) => fc.jsonValue().map((other) => ({ inner, other })));
  fc.assert(
    fc.property(given, fc.integer({ min: 64, max: 2_000 }), (value, maxBytes) => {
      const text = kept(value, { maxBytes }) ?? "";
      expect(text).not.toContain(canary);
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(maxBytes + 32);
      expect(text.isWellFormed()).toBe(true);
    }),
    { numRuns: 500 },
  );
});
