import { stripVTControlCharacters } from "node:util";

/**
 * Text that is safe to print: what agents and callers wrote must not move the cursor, recolour or retitle the terminal, nor
 * turn the direction of writing around.
 */
export function printable(text: string, keepLines = false): string {
  return stripVTControlCharacters(text).replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu, (run) =>
    keepLines && run.includes("\n") ? "\n" : " ",
  );
}

const zeroWidth = /^(?:\p{M}|[\u200b-\u200d])$/u;
const doubleWidth =
  /^(?:[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation})$/u;

function charWidth(char: string): number {
  return zeroWidth.test(char) ? 0 : doubleWidth.test(char) ? 2 : 1;
}

/** How many columns a terminal gives the text. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const char of text) width += charWidth(char);
  return width;
}

/** The text in at most `width` columns; what is cut off is marked. */
export function cut(text: string, width: number, ellipsis: string): string {
  if (displayWidth(text) <= width) return text;
  const room = width - displayWidth(ellipsis);
  let result = "";
  let used = 0;
  for (const char of text) {
    used += charWidth(char);
    if (used > room) break;
    result += char;
  }
  return result + ellipsis.slice(0, width);
}

/** Pads on the right to `width` columns. */
export function padEnd(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - displayWidth(text)));
}

/** Pads on the left to `width` columns. */
export function padStart(text: string, width: number): string {
  return " ".repeat(Math.max(0, width - displayWidth(text))) + text;
}
