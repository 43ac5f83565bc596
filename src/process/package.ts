import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Where package.json is: above src/ in a clone, above dist/src/ in the published package. */
export function packageRoot(): string {
  const src = dirname(import.meta.dirname);
  return src.endsWith(join("dist", "src")) ? dirname(dirname(src)) : dirname(src);
}

/** The version that package.json names. */
export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as { version: string }).version;
}
