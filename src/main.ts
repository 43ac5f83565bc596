import { ConfigError, readDevConfig, usage } from "./config.ts";
import { StartupError } from "./dev/startup-error.ts";
import { startDevMode } from "./dev-mode.ts";

/** Exit codes: 0 stopped as asked, 1 could not start or stop, 2 wrong usage. */
const [command, ...args] = process.argv.slice(2);

if (command === undefined || command === "help" || command === "--help" || args.includes("--help")) {
  process.stdout.write(usage);
} else if (command !== "dev") {
  fail(2, `there is no command "${command}"\n\n${usage}`);
} else {
  await dev();
}

async function dev(): Promise<void> {
  // Asked to stop: once, in order; a second signal ends at once, whatever is under way. One Ctrl-C in `npm start` arrives
  // twice, from the terminal and from npm: what comes within half a second is the same one.
  const stopping = new AbortController();
  let firstAt = 0;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (stopping.signal.aborted && performance.now() - firstAt > 500) process.exit(1);
      if (!stopping.signal.aborted) firstAt = performance.now();
      stopping.abort();
    });
  }
  try {
    const config = readDevConfig(args, process.env);
    const running = await startDevMode(config, (line) => process.stdout.write(`${line}\n`), stopping.signal);
    if (!stopping.signal.aborted) {
      await new Promise((resolve) => stopping.signal.addEventListener("abort", resolve, { once: true }));
    }
    process.stdout.write(
      "\nStopping: calls in flight may end, what is braked stays braked. Press again to end at once.\n",
    );
    await running.close();
    process.exit(0);
  } catch (error) {
    if (error instanceof ConfigError) fail(2, error.message);
    if (error instanceof StartupError) fail(1, error.message);
    fail(1, error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
}

function fail(code: number, message: string): never {
  process.stderr.write(`mission-control: ${message}\n`);
  process.exit(code);
}
