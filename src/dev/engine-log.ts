import type { Logger } from "../log.ts";

const windowMs = 10_000;
const linesPerWindow = 50;

/**
 * Takes the engine's JSON log lines over into our log: its errors and warnings as warnings, the rest for debugging, and so are
 * the failed attempts of agents, which are shown where the workflows are. An engine
 * that logs without end is cut to 50 lines in 10 s, and the number of those left out is logged; its own file has more.
 */
export function forwardEngineLog(log: Logger): (line: string) => void {
  let windowStart = 0;
  let lines = 0;
  return (line) => {
    const { level, message, detail } = parse(line);
    if (level === "debug" && !log.isLevelEnabled("debug")) return;
    const now = Date.now();
    if (now - windowStart > windowMs) {
      if (lines > linesPerWindow) log.warn({ dropped: lines - linesPerWindow }, "engine: lines left out");
      windowStart = now;
      lines = 0;
    }
    if (++lines > linesPerWindow) return;
    log[level]({ engine: detail }, `engine: ${message}`);
  };
}

function parse(line: string): { level: "warn" | "debug"; message: string; detail: unknown } {
  try {
    const { level, target, fields } = JSON.parse(line);
    const { message, ...rest } = fields ?? {};
    return {
      level: (level === "ERROR" || level === "WARN") && target !== "restate_invoker_impl" ? "warn" : "debug",
      message: String(message ?? "").slice(0, 500),
      detail: { target, fields: JSON.stringify(rest).slice(0, 1000) },
    };
  } catch {
    return { level: "warn", message: line.slice(0, 500), detail: undefined };
  }
}
