import { type Logger, pino } from "pino";

export type { Logger } from "pino";

/** Takes whole lines of the log. */
export interface LogFile {
  write(line: string): void;
}

/**
 * JSON lines on stderr from `level` up: stdout is for people. With a file, that gets everything from "info" up as well. What
 * could carry a credential is never written.
 */
export function createLog(level: string, file?: LogFile): Logger {
  const stderr = pino.destination({ dest: 2, sync: true });
  const streams: pino.StreamEntry[] = [{ level: level as pino.Level, stream: stderr }];
  if (file) streams.push({ level: "info", stream: { write: (line) => file.write(line.trimEnd()) } });
  return pino<never>(
    {
      level: file && pino.levels.values[level] !== pino.levels.values.debug ? "info" : level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: ["authorization", "*.authorization", "token", "*.token", "headers", "*.headers"],
    },
    pino.multistream(streams),
  );
}
