import type { CallOptions } from "@connectrpc/connect";
import { type Connection, connect } from "./connection.ts";
import type { ExitCode } from "./failure.ts";
import { type GlobalFlags, resolveSettings, type Settings, type Surroundings } from "./settings.ts";
import { createTerminal, type Terminal } from "./terminal.ts";

/** The process that a command runs in. */
export interface Host extends Surroundings {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly stdin: NodeJS.ReadStream;
  /** Aborted when the user interrupts. */
  readonly signal: AbortSignal;
  /** What went wrong is reported with this server's name. */
  reportServer(server: string): void;
  setExitCode(code: ExitCode): void;
}

/** What a command works with while it runs. */
export interface Session extends Omit<Connection, "close"> {
  readonly settings: Settings;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
  /** Options of one unary call; `extraMs` is time that the server was asked to take. */
  call(extraMs?: number): CallOptions;
}

/** Flags that every command sees besides its own. */
export type Flags = GlobalFlags & { readonly color: boolean };

/** The terminal of a command that needs no server. */
export function terminalOf(host: Host, flags: Pick<Flags, "color">): Terminal {
  return createTerminal({
    stdout: host.stdout,
    stderr: host.stderr,
    get stdin() {
      return host.stdin;
    },
    env: host.env,
    color: flags.color,
  });
}

/** Runs a command's work with an open session; a returned exit code becomes the process'. */
export async function withSession(
  host: Host,
  flags: Flags,
  work: (session: Session) => Promise<ExitCode | undefined>,
): Promise<void> {
  const settings = resolveSettings(flags, host);
  host.reportServer(settings.server);
  const connection = connect(settings);
  try {
    const code = await work({
      settings,
      terminal: terminalOf(host, flags),
      signal: host.signal,
      missionControl: connection.missionControl,
      brakes: connection.brakes,
      auditLog: connection.auditLog,
      revocations: connection.revocations,
      access: connection.access,
      gateTokens: connection.gateTokens,
      call: (extraMs = 0) => ({ signal: host.signal, timeoutMs: settings.timeoutMs + extraMs }),
    });
    if (code !== undefined) host.setExitCode(code);
  } finally {
    connection.close();
  }
}
