import { expect, it } from "vitest";
import { boundedEntry } from "../../src/ledger/bounds.ts";

it("a signature is kept to the letter, also where it looks like a token somewhere", () => {
  const requestSignature = `mission-control request v1\n\n— key ${"A".repeat(40)}eyJ${"b".repeat(40)}=\n`;
  const entry = boundedEntry(
    { action: "runtime.pause", reason: `x eyJ${"b".repeat(40)}`, requestSignature },
    "ae_1",
    0,
  );
  expect(entry.requestSignature).toBe(requestSignature);
  expect(entry.reason).toBe("x (token)");
});
