import { createRequire } from "node:module";
import { StartupError } from "../process/startup-error.ts";

const supported = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"];

/**
 * The path of Restate's own server binary, as its npm package for the platform carries it. Not the package's shim: that one
 * exits 0 when the server is killed, and leaves the server behind when it is killed itself.
 * @throws StartupError on a platform that there is none for, and where the package is not installed.
 */
export function engineBinary(
  platform: string = process.platform,
  arch: string = process.arch,
  resolve: (id: string) => string = createRequire(import.meta.url).resolve,
): string {
  const target = `${platform}-${arch}`;
  if (!supported.includes(target)) {
    throw new StartupError(
      `The embedded engine (Restate) does not run on ${target}, only on ${supported.join(", ")}. ` +
        "Use one of these (on Windows: WSL 2), or a server of your own with `mission-control serve --config FILE`.",
    );
  }
  const name = `@restatedev/restate-server-${target}`;
  try {
    return resolve(`${name}/bin/restate-server`);
  } catch (cause) {
    throw new StartupError(
      `The package ${name}, which holds the embedded engine, is not installed. ` +
        "Run `npm ci --include=optional` in the folder of Mission Control, then start again.",
      { cause },
    );
  }
}
