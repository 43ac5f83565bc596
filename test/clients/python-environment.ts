import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { root, spawnProcess } from "../fixture/dev-process.ts";

/** Why the Python client cannot be tested here; undefined: it can. */
export const noPython = ((): string | undefined => {
  try {
    execFileSync("python3", ["-c", "import sys, pip; sys.exit(sys.version_info < (3, 10))"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "there is no python3 of 3.10 or newer with pip";
  }
})();

/**
 * Installs the client from its folder, as a stranger would, with what its own tests need. Into a folder of packages: for a venv
 * Debian's python3 lacks a part that is a package of its own. Answers the environment in which python3 finds it.
 */
export async function installPythonClient(folder: string): Promise<NodeJS.ProcessEnv> {
  const packages = join(folder, "packages");
  const options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--target", packages];
  const client = `${join(root, "clients/python")}[dev]`;
  const { code, stderr } = await spawnProcess("python3", ["-m", "pip", "install", ...options, client]).ended;
  if (code !== 0) throw new Error(`pip install ended with ${code}:\n${stderr}`);
  return { PYTHONPATH: packages };
}
