/** A command line, environment or configuration file that cannot be used; the message lists every fault. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}
