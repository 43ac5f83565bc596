import { StartupError } from "./startup-error.ts";

/**
 * Why the address cannot be listened on, with what to do; undefined where the error is about something else.
 *
 * @param keys what says another host or port.
 */
export function cannotListen(
  error: unknown,
  { host, port }: { host: string; port: number },
  keys: { host: string; port: string },
): StartupError | undefined {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (syscall !== "listen" && syscall !== "getaddrinfo") return undefined;
  switch (code) {
    case "EADDRINUSE":
      return new StartupError(
        `Port ${port} on ${host} is in use. Stop what listens there (\`lsof -i :${port}\` shows it), or start with another one ` +
          `(${keys.port}).`,
      );
    case "EACCES":
      return new StartupError(
        `Port ${port} on ${host} is not yours to listen on. Start with one above 1023 (${keys.port}).`,
      );
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return new StartupError(`This machine has no address ${host}. Start with another one (${keys.host}).`);
    default:
      return undefined;
  }
}

/** The URL of what listens there. */
export function urlOf({ address, port }: { address: string; port: number }, scheme: "http" | "https"): string {
  return `${scheme}://${address.includes(":") ? `[${address}]` : address}:${port}`;
}
