import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type EmbeddedRestate, startEmbeddedRestate } from "../../src/dev/embedded-restate.ts";
import { engineBinary } from "../../src/dev/engine-binary.ts";
import { processIdentity } from "../../src/dev/pid-file.ts";
import { unixRequest } from "../../src/dev/unix-http.ts";
import { createLog } from "../../src/log.ts";

const log = createLog("silent");
let dataDir: string;
let engine: EmbeddedRestate | undefined;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "mc-engine-"));
});
afterEach(async () => {
  await engine?.stop();
  engine = undefined;
  rmSync(dataDir, { recursive: true, force: true });
});

async function query(sql: string): Promise<number> {
  const signal = AbortSignal.timeout(5_000);
  const socket = engine?.adminSocket ?? "";
  return (await unixRequest(socket, "POST", "/query", { body: { query: sql }, signal })).status;
}

const invocations = "SELECT count(*) FROM sys_invocation";

test("the engine answers queries when it is started, on sockets of its owner alone, and is gone when stopped", async () => {
  engine = await startEmbeddedRestate({ dataDir, log });
  expect(await query(invocations)).toBe(200);
  expect(statSync(join(dataDir, "restate")).mode & 0o077).toBe(0);
  const { pid } = engine.state();
  await engine.stop();
  expect(processIdentity(pid ?? 0)).toBeUndefined();
  expect(readFileSync(join(dataDir, "logs", "restate.log"), "utf8")).toContain("Starting Restate Server");
});

test("an engine that is killed is started again, and the state shows it", async () => {
  engine = await startEmbeddedRestate({ dataDir, log });
  const back = Promise.withResolvers<void>();
  const seen: string[] = [];
  engine.onState(({ status, restarts }) => {
    seen.push(status);
    if (status === "ready" && restarts === 1) back.resolve();
  });
  process.kill(engine.state().pid ?? 0, "SIGKILL");
  await back.promise;
  expect(seen).toEqual(["down", "starting", "ready"]);
  expect(await query(invocations)).toBe(200);
});

test("an engine that a killed Mission Control left over is replaced", async () => {
  const module = join(import.meta.dirname, "../../src/dev/embedded-restate.ts");
  const logModule = join(import.meta.dirname, "../../src/log.ts");
  const script = `const { startEmbeddedRestate } = await import(${JSON.stringify(module)});
    const { createLog } = await import(${JSON.stringify(logModule)});
    const engine = await startEmbeddedRestate({ dataDir: ${JSON.stringify(dataDir)}, log: createLog("silent") });
    console.log(engine.state().pid);`;
  const killed = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(killed.stdout, "data");
  const leftover = Number(String(line));
  killed.kill("SIGKILL");
  await once(killed, "exit");
  expect(processIdentity(leftover)).toBeDefined();

  engine = await startEmbeddedRestate({ dataDir, log });
  expect(processIdentity(leftover)).toBeUndefined();
  expect(await query(invocations)).toBe(200);
});

test("the engine ends with a process that exits without stopping it", async () => {
  const module = join(import.meta.dirname, "../../src/dev/embedded-restate.ts");
  const logModule = join(import.meta.dirname, "../../src/log.ts");
  const script = `const { startEmbeddedRestate } = await import(${JSON.stringify(module)});
    const { createLog } = await import(${JSON.stringify(logModule)});
    const engine = await startEmbeddedRestate({ dataDir: ${JSON.stringify(dataDir)}, log: createLog("silent") });
    console.log(engine.state().pid); process.exit(0);`;
  const exited = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(exited.stdout, "data");
  await expect.poll(() => processIdentity(Number(String(line))), { timeout: 5_000 }).toBeUndefined();
});

test("a state that another server has locked is an error that says what to do", async () => {
  const state = join(dataDir, "restate");
  mkdirSync(state);
  const env = {
    RESTATE_LISTEN_MODE: "unix",
    RESTATE_BASE_DIR: state,
    RESTATE_NODE_NAME: "embedded",
    RESTATE_CLUSTER_NAME: "embedded",
    RESTATE_AUTO_PROVISION: "true",
    RESTATE_DEFAULT_NUM_PARTITIONS: "4",
    DO_NOT_TRACK: "1",
  };
  const other = spawn(engineBinary(), { env, cwd: state, stdio: "ignore" });
  try {
    await expect.poll(() => existsSync(join(state, "embedded", "admin.sock")), { timeout: 10_000 }).toBe(true);
    await expect(startEmbeddedRestate({ dataDir, log })).rejects.toThrow(
      /locked by another process.*another data directory/,
    );
  } finally {
    other.kill("SIGKILL");
    await once(other, "exit");
  }
});

test("a path that is too long for a socket is an error that says so", async () => {
  const deep = join(dataDir, "d".repeat(100));
  await expect(startEmbeddedRestate({ dataDir: deep, log })).rejects.toThrow(
    /bytes too long .* Choose a data directory/,
  );
  expect(existsSync(deep)).toBe(false);
});

test("a data directory that is a file is an error that says what to do", async () => {
  writeFileSync(join(dataDir, "file"), "");
  await expect(startEmbeddedRestate({ dataDir: join(dataDir, "file"), log })).rejects.toThrow(
    /cannot be kept in .*writable/,
  );
});
