import { type Logger, pino } from "pino";

export type { Logger };

/** JSON lines on stderr: stdout is for people. What could carry a credential is never written. */
export function createLog(level: string): Logger {
  return pino<never>(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: ["authorization", "*.authorization", "token", "*.token", "headers", "*.headers"],
    },
    pino.destination({ dest: 2, sync: true }),
  );
}
