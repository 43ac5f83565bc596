import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { isSignedBy, parseNote, signNote } from "../../src/proof/note.ts";
import { ProofError } from "../../src/proof/proof-error.ts";
import { parseVerifierKey, verifierKey } from "../../src/proof/verifier-key.ts";

/** The example of the documentation of Go's package note, where the format comes from. */
const key = parseVerifierKey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
const text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const signature =
  "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const note = `${text}\n${signature}`;

describe("a signed note", () => {
  it("of the format's documentation verifies", () => {
    expect(parseNote(note).text).toBe(text);
    expect(isSignedBy(parseNote(note), key)).toBe(true);
  });

  it.each([
    ["another letter", note.replace("answer", "Answer")],
    ["a line more", note.replace("problem,\n", "problem,\nperhaps\n")],
    ["another signature", note.replace("x08go/ZJkuBS", "x08go/ZJkuBT")],
  ])("with %s is refused", (_, changed) => {
    expect(() => isSignedBy(parseNote(changed), key)).toThrow(ProofError);
  });

  it("by somebody else is not signed by the key", () => {
    expect(isSignedBy(parseNote(note.replaceAll("PeterNeumann", "EnochRoot")), key)).toBe(false);
  });

  it.each([
    ["no signature", text],
    ["no blank line", text + signature],
    ["something behind its signatures", `${note}and more\n`],
    ["no last line break", note.slice(0, -1)],
    ["a signature in another spelling", note.replace("nAM=\n", "nAN=\n")],
    ["a control character", note.replace("you", "you\t")],
    ["a hyphen for the dash", note.replace("—", "-")],
  ])("with %s is none", (_, changed) => {
    expect(() => parseNote(changed)).toThrow(ProofError);
  });

  it("keeps what is signed apart from the signatures, whatever stands in it", () => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const raw = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
    const own = { key: verifierKey("EnochRoot", raw), privateKey };
    const tricky = `a\n\n${signature}b\n`;
    const parsed = parseNote(signNote(tricky, [own]));
    expect(parsed.text).toBe(tricky);
    expect(isSignedBy(parsed, own.key)).toBe(true);
    expect(isSignedBy(parsed, key)).toBe(false);
  });
});

describe("a verifier key", () => {
  it.each([
    ["another id", key.text.replace("c74f20a3", "c74f20a4")],
    ["another name", key.text.replace("Peter", "Paul")],
    ["another type", key.text.replace("+ARpc", "+BRpc")],
    ["no id", "PeterNeumann+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"],
    ["bytes cut off", key.text.slice(0, -4)],
    ["nothing", ""],
  ])("with %s is refused", (_, text) => {
    expect(() => parseVerifierKey(text)).toThrow(ProofError);
  });
});
