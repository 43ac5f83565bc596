/** What was to be proved is not proved; the message says what is wrong. */
export class ProofError extends Error {
  override readonly name = "ProofError";
}
