import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** A log file on disk that never grows beyond its bound: the file, and the one before it (`<path>.1`). */
export interface RotatingLog {
  write(line: string): void;
  close(): void;
}

/** Opens a log file for appending. What cannot be written is dropped. */
export function openRotatingLog(path: string, maxBytes: number): RotatingLog {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  let file: number | undefined = openSync(path, "a", 0o600);
  let size = fstatSync(file).size;
  return {
    write(line) {
      if (file === undefined) return;
      const bytes = Buffer.from(`${line}\n`);
      try {
        if (size + bytes.length > maxBytes) {
          closeSync(file);
          file = undefined;
          renameSync(path, `${path}.1`);
          file = openSync(path, "a", 0o600);
          size = 0;
        }
        size += writeSync(file, bytes);
      } catch {
        // A full disk must not take down what is being logged.
      }
    },
    close() {
      if (file !== undefined) closeSync(file);
      file = undefined;
    },
  };
}
