import { mkdirSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "../log.ts";
import { StartupError } from "../process/startup-error.ts";
import { engineBinary } from "./engine-binary.ts";
import { forwardEngineLog } from "./engine-log.ts";
import { openRotatingLog } from "./rotating-log.ts";
import { type Supervised, supervise } from "./supervisor.ts";
import { unixRequest } from "./unix-http.ts";

/** Restate's own server as a supervised child process, reachable through unix sockets only. */
export interface EmbeddedRestate extends Supervised {
  /** The admin API. It has no authentication: the socket's folder is the owner's alone. */
  readonly adminSocket: string;
  /** Where invocations are started. */
  readonly ingressSocket: string;
}

const node = "embedded";
/** sun_path holds 108 bytes on Linux and 104 on macOS, with the terminating zero. */
const longestSocketPath = process.platform === "linux" ? 107 : 103;
const steadyMs = 200;
const neededDiskBytes = 512 << 20;

/**
 * Starts the engine with its state under `<dataDir>/restate` and its log in `<dataDir>/logs/restate.log`, and waits until it
 * answers queries. A second start goes on with what the first one left. The caller holds the data directory's lock.
 * @throws StartupError: unsupported platform, package missing, path too long, no usable disk, state locked by somebody else.
 */
export async function startEmbeddedRestate(options: {
  dataDir: string;
  log: Logger;
  /** The engine's own next-generation queues, off by default in 1.7: a pause then cuts steps off instead of waiting. */
  virtualQueues?: boolean;
  /** More of the engine's own environment, for a bench that needs another size. */
  settings?: Readonly<Record<string, string>>;
}): Promise<EmbeddedRestate> {
  const { log, virtualQueues = false, settings = {} } = options;
  const dataDir = resolve(options.dataDir);
  const binary = engineBinary();
  const stateDir = join(dataDir, "restate");
  checkSocketPath(stateDir);
  prepareDisk(stateDir);
  const adminSocket = join(stateDir, node, "admin.sock");
  const logFile = openRotatingLog(join(dataDir, "logs", "restate.log"), 16 << 20);
  const forward = forwardEngineLog(log);

  try {
    const supervised = await supervise(
      {
        name: "engine",
        command: binary,
        args: [],
        env: { ...engineEnvironment(stateDir, virtualQueues), ...settings },
        cwd: stateDir,
        pidFile: join(dataDir, "restate.pid"),
        ready: (signal) => answersQueries(adminSocket, signal),
        readyTimeoutMs: 60_000,
        stopTimeoutMs: 12_000,
        onLine: (line) => {
          logFile.write(line);
          forward(line);
        },
        explain: (lines) => explain(lines, stateDir),
      },
      log,
    );
    return {
      adminSocket,
      ingressSocket: join(stateDir, node, "ingress.sock"),
      state: () => supervised.state(),
      onState: (callback) => supervised.onState(callback),
      stop: async () => {
        await supervised.stop();
        logFile.close();
      },
    };
  } catch (error) {
    logFile.close();
    throw error;
  }
}

function engineEnvironment(baseDir: string, virtualQueues: boolean): Record<string, string> {
  return {
    RESTATE_LISTEN_MODE: "unix",
    RESTATE_BASE_DIR: baseDir,
    RESTATE_NODE_NAME: node,
    RESTATE_CLUSTER_NAME: node,
    RESTATE_AUTO_PROVISION: "true",
    RESTATE_DEFAULT_NUM_PARTITIONS: "4",
    RESTATE_ROCKSDB_TOTAL_MEMORY_SIZE: "256MB",
    RESTATE_BIFROST__RECORD_CACHE_MEMORY_SIZE: "32MB",
    RESTATE_ADMIN__QUERY_ENGINE__MEMORY_SIZE: "256MB",
    RESTATE_WORKER__INVOKER__MEMORY_LIMIT: "256MB",
    RESTATE_ADMIN__DISABLE_WEB_UI: "true",
    RESTATE_SHUTDOWN_TIMEOUT: "10s",
    RESTATE_LOG_FORMAT: "json",
    // A query that fails is told to whoever asked; while it gets ready, that is us, many times a second.
    RESTATE_LOG_FILTER: "warn,restate=info,restate_admin::query_utils=error,octocrab=off",
    RESTATE_DEFAULT_JOURNAL_RETENTION: "7d",
    RESTATE_EXPERIMENTAL_ENABLE_VQUEUES: String(virtualQueues),
    DO_NOT_TRACK: "1",
    TMPDIR: tmpdir(),
  };
}

function prepareDisk(stateDir: string): void {
  let free: number;
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = statfsSync(stateDir);
    free = bavail * bsize;
  } catch (cause) {
    const why = (cause as Error).message;
    throw new StartupError(
      `The engine's state cannot be kept in ${stateDir}: ${why}. Make the folder writable, or choose another data directory.`,
      { cause },
    );
  }
  if (free < neededDiskBytes) {
    throw new StartupError(
      `The disk under ${stateDir} has ${free >> 20} MiB free; the engine needs ${neededDiskBytes >> 20} MiB. ` +
        "Free some space, or choose a data directory on another disk.",
    );
  }
}

/** The engine resolves links, so a link to a folder that is too deep does not help. */
function checkSocketPath(stateDir: string): void {
  const socket = join(stateDir, node, "ingress.sock");
  const excess = Buffer.byteLength(socket) - longestSocketPath;
  if (excess <= 0) return;
  throw new StartupError(
    `The data directory's path is ${excess} bytes too long for the engine's unix sockets: ${socket} ` +
      `(the system allows ${longestSocketPath} bytes). Choose a data directory with a shorter path.`,
  );
}

/**
 * The health route says yes too early, and after a crash so does the first answer: for up to 50 ms more, queries may still be
 * sent to where a partition was before. It is ready when queries over all partitions have been answered for a while.
 */
async function answersQueries(adminSocket: string, signal: AbortSignal): Promise<void> {
  const query = "SELECT count(*) FROM sys_invocation";
  let answersSince: number | undefined;
  for (;;) {
    const attempt = AbortSignal.any([signal, AbortSignal.timeout(2_000)]);
    const answer = await unixRequest(adminSocket, "POST", "/query", { body: { query }, signal: attempt }).catch(
      () => undefined,
    );
    if (answer?.status !== 200) answersSince = undefined;
    else answersSince ??= Date.now();
    if (answersSince !== undefined && Date.now() - answersSince >= steadyMs) return;
    await delay(25, undefined, { signal });
  }
}

function explain(lastLines: readonly string[], stateDir: string): string | undefined {
  if (lastLines.some((line) => line.includes("db is locked"))) {
    return (
      `Its state in ${stateDir} is locked by another process: probably a restate-server that was started there by hand. ` +
      `End that one (\`fuser ${join(stateDir, node, "log-store", "LOCK")}\` shows it), or choose another data directory.`
    );
  }
  return undefined;
}
