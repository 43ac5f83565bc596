import type { Readable } from "node:stream";

/** Calls back for every line of a text stream. A line longer than `maxLength` characters is cut, its rest is dropped. */
export function eachLine(stream: Readable, maxLength: number, onLine: (line: string) => void): void {
  let line = "";
  const take = (text: string) => {
    if (line.length < maxLength) line += text.slice(0, maxLength - line.length);
  };
  const flush = () => {
    onLine(line.endsWith("\r") ? line.slice(0, -1) : line);
    line = "";
  };
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    const parts = text.split("\n");
    for (const [i, part] of parts.entries()) {
      take(part);
      if (i < parts.length - 1) flush();
    }
  });
  stream.once("end", () => {
    if (line !== "") flush();
  });
}
