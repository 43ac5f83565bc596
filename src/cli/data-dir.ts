import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

/** A file of the server's: below `dataDir`, else below .mission-control here or in a folder above; undefined: there is none. */
export function findInDataDir(file: string, cwd: string, dataDir: string | undefined): string | undefined {
  if (dataDir !== undefined) {
    const path = join(dataDir, file);
    return existsSync(path) ? path : undefined;
  }
  for (let folder = cwd; ; folder = dirname(folder)) {
    const path = join(folder, ".mission-control", file);
    if (existsSync(path)) return path;
    if (folder === dirname(folder)) return undefined;
  }
}
