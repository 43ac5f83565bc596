import { ConfigError } from "./config/config-error.ts";
import { devUsage, readDevConfig } from "./config/dev-config.ts";
import { readServeConfig, serveUsage } from "./config/serve-config.ts";
import { startDevMode } from "./dev-mode.ts";
import { StartupError } from "./process/startup-error.ts";
import { checkServeMode, startServeMode } from "./serve-mode.ts";

/** What runs until it is asked to stop. */
interface Running {
  close(): Promise<void>;
}

const usage = `Usage: mission-control dev|serve [options]

  dev      with an embedded engine, sample agents and dev keys, on loopback: to try it out
  serve    for production, with a configuration file

mission-control dev --help and mission-control serve --help tell the options.
`;

/** Exit codes: 0 stopped as asked, 1 could not start or stop, 2 wrong usage. */
const [command, ...args] = process.argv.slice(2);
const helps = args.includes("--help");

if (command === undefined || command === "help" || command === "--help") process.stdout.write(usage);
else if (command === "dev" && helps) process.stdout.write(devUsage);
else if (command === "dev") await run((signal) => startDevMode(readDevConfig(args, process.env), say, signal));
else if (command === "serve" && helps) process.stdout.write(serveUsage);
else if (command === "serve") await run(serve);
else fail(2, `there is no command "${command}"\n\n${usage}`);

async function serve(signal: AbortSignal): Promise<Running> {
  const config = readServeConfig(args, process.env);
  if (!config.check) return startServeMode(config, say, signal);
  await checkServeMode(config);
  say("The configuration can be served.");
  process.exit(0);
}

async function run(start: (signal: AbortSignal) => Promise<Running>): Promise<void> {
  // Asked to stop: once, in order; a second signal ends at once, whatever is under way. One Ctrl-C in `npm start` arrives
  // twice, from the terminal and from npm: what comes within half a second is the same one.
  const stopping = new AbortController();
  let firstAt = 0;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (stopping.signal.aborted && performance.now() - firstAt > 500) process.exit(1);
      if (stopping.signal.aborted) return;
      firstAt = performance.now();
      stopping.abort();
      say("\nStopping: calls in flight may end, what is braked stays braked. Press again to end at once.");
    });
  }
  // A terminal that was closed takes no more lines: what has to stop in order does so unseen.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  try {
    const running = await start(stopping.signal);
    if (!stopping.signal.aborted) {
      await new Promise((resolve) => stopping.signal.addEventListener("abort", resolve, { once: true }));
    }
    await running.close();
    process.exit(0);
  } catch (error) {
    // Asked to stop while it started.
    if (stopping.signal.aborted && error === stopping.signal.reason) process.exit(0);
    if (error instanceof ConfigError) fail(2, error.message);
    if (error instanceof StartupError) fail(1, error.message);
    fail(1, error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function fail(code: number, message: string): never {
  process.stderr.write(`mission-control: ${message}\n`);
  process.exit(code);
}
