const pattern = /^(?:([\d.]+)d)?(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?(?:([\d.]+)ms)?$/;
const units = [86_400_000, 3_600_000, 60_000, 1_000, 1];

/** Milliseconds of "500ms", "10s", "5m", "1h30m", "2d"; undefined where it is no duration. */
export function parseDuration(text: string): number | undefined {
  const match = pattern.exec(text);
  if (match === null || text === "") return undefined;
  const total = units.reduce((sum, unit, i) => sum + unit * Number(match[i + 1] ?? 0), 0);
  return Number.isFinite(total) ? Math.round(total) : undefined;
}

/** Milliseconds for people, two units at the most: "340ms", "1.2s", "34s", "3m12s", "2h05m", "3d4h". */
export function formatDuration(ms: number): string {
  if (ms < 0) return `-${formatDuration(-ms)}`;
  if (ms < 999.5) return `${Math.round(ms)}ms`;
  if (ms < 9_950) return `${Number((ms / 1000).toFixed(1))}s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  const two = (value: number) => String(value).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)}h${two(minutes % 60)}m`;
  const hours = Math.floor(minutes / 60);
  return `${Math.floor(hours / 24)}d${hours % 24}h`;
}

/** Milliseconds in one unit, rounded, four characters for most: "29m", "3d". */
export function formatCoarseDuration(ms: number): string {
  if (ms < 99.5) return `${Math.round(ms)}ms`;
  if (ms < 950) return `${(ms / 1_000).toFixed(1).slice(1)}s`;
  if (ms < 99_500) return `${Math.round(ms / 1_000)}s`;
  if (ms < 99 * 60_000) return `${Math.round(ms / 60_000)}m`;
  if (ms < 47.5 * 3_600_000) return `${Math.round(ms / 3_600_000)}h`;
  return `${Math.round(ms / 86_400_000)}d`;
}
