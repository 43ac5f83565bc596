/** Why dev mode could not start: the message says what was wrong and what to do, and is meant to be printed as it is. */
export class StartupError extends Error {
  override readonly name = "StartupError";
}
