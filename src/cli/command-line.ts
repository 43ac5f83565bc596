import { printable } from "./view/text.ts";

/** A command as one types it: each word quoted for a POSIX shell where it has to be. */
export function commandLine(words: readonly string[]): string {
  return words.map((word) => quote(printable(word))).join(" ");
}

/** What one types next about a brake; a reason is left to be filled in, and refused where it is not. */
export function brakeLine(verb: "get" | "watch" | "approve" | "release", brakeId: string): string {
  const line = commandLine(["mctl", "brake", verb, brakeId]);
  return verb === "approve" || verb === "release" ? `${line} --reason "…"` : line;
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
