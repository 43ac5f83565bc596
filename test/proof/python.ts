import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";

const directory = join(import.meta.dirname, "../../examples/verify");

/** A file of Merkle vectors, which both verifiers run. */
export function vectorFile(name: string): string {
  return join(directory, "vectors", `${name}.json`);
}

/** Runs the verifier of examples/verify to its end. */
export async function python(args: readonly string[], input = "") {
  // -B: it leaves nothing behind in the repository.
  const child = spawn("python3", ["-B", join(directory, "verify.py"), ...args], { stdio: "pipe" });
  child.stdin.end(input);
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { code: code as number, stdout, stderr };
}
