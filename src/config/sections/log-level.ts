import * as z from "zod";

export const logLevels = ["debug", "info", "warn", "error"] as const;

/** From which level up the log is written. */
export const logLevel = z.enum(logLevels);
