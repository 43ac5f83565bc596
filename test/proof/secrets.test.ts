import { expect, it } from "vitest";
import { hideTokens } from "../../src/proof/secrets.ts";

const part = (json: object) => Buffer.from(JSON.stringify(json)).toString("base64url");
const jwt = `${part({ alg: "ES256", typ: "at+jwt" })}.${part({ sub: "alice", iss: "https://login.example.com" })}.c2lnbmF0dXJl`;

it.each([
  [jwt, "(token)"],
  [`Authorization: Bearer ${jwt}, and more`, "Authorization: Bearer (token), and more"],
  [jwt.slice(0, 60), "(token)"],
  [`two: ${jwt} ${jwt}`, "two: (token) (token)"],
  [`mcgt_${"Ab3_-".repeat(9)}`, "(token)"],
])("a token in a text is hidden: %s", (text, hidden) => {
  expect(hideTokens(text)).toBe(hidden);
});

it.each([
  "restate:inv_1gN5nmrVBout74vX0agJZVIe3YBmlxI1oI",
  "refunds are paid twice, see INC-4711",
  "c0ffee".repeat(10),
  "eyJ",
])("what is none stays: %s", (text) => {
  expect(hideTokens(text)).toBe(text);
});
