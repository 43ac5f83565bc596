import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Brakes } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { GateTokens } from "../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { openDevIssuer } from "../../src/identity/dev-issuer.ts";

// A double of the AI-First Runtime in Python, as processes of their own: it speaks the hooks exactly as that runtime does.

const fixtures = join(import.meta.dirname, "../fixture/ai-first");
const timeoutMs = 600_000;
let dir: string;
let port: string;
let server: ChildProcess;
let url: string;
let runtimes: ChildProcess[];
let control: ReturnType<typeof createClient<typeof MissionControl>>;
let brakes: ReturnType<typeof createClient<typeof Brakes>>;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "mc-ai-first-"));
  runtimes = [];
  port = "0";
  const issuer = await openDevIssuer(dir);
  await serve();
  const token = await issuer.signDevToken({ subject: "alice", roles: ["sre_admin"], expiresIn: 3600 });
  const transport = createGrpcTransport({
    baseUrl: `http://127.0.0.1:${port}`,
    interceptors: [
      (next) => (req) => {
        req.header.set("authorization", `Bearer ${token}`);
        return next(req);
      },
    ],
  });
  control = createClient(MissionControl, transport);
  brakes = createClient(Brakes, transport);
  const { secret } = await createClient(GateTokens, transport).createGateToken({
    name: "double",
    engine: "ai-first",
    reason: "test",
  });
  url = `http://127.0.0.1:${port}/v1/gates/ai-first/${secret}`;
});

afterEach(async () => {
  for (const one of [...runtimes, server]) {
    if (one.exitCode !== null || one.signalCode !== null) continue;
    one.kill("SIGKILL");
    await once(one, "exit");
  }
  rmSync(dir, { recursive: true });
});

async function serve(): Promise<void> {
  server = spawn(process.execPath, [join(fixtures, "server.ts"), dir, port], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: server.stdout as NodeJS.ReadableStream });
  [port] = (await once(lines, "line")) as [string];
}

interface Ended {
  readonly workflow: string;
  readonly status: string;
  readonly skipped: readonly string[];
}

/** A process with so many workflows; what they did is in its file. */
function runtime(failMode: string, workflows: number, steps: number, stepMs: number) {
  const file = join(dir, `steps-${runtimes.length}`);
  const args = [url, timeoutMs, failMode, workflows, steps, stepMs, file].map(String);
  const child = spawn("python3", [join(import.meta.dirname, "../../examples/ai-first/runtime.py"), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  runtimes.push(child);
  const ended = (async () => {
    const all: Ended[] = [];
    for await (const line of createInterface({ input: child.stdout })) all.push(JSON.parse(line) as Ended);
    return all;
  })();
  const taken = () => {
    try {
      return readFileSync(file, "utf8").trim().split("\n").filter(Boolean);
    } catch {
      return [];
    }
  };
  return { ended, taken };
}

async function engage(): Promise<string> {
  const { brake } = await brakes.engageBrake({ selector: { types: ["ai-first"] }, reason: "looks wrong" });
  return brake?.brakeId ?? "";
}

/** All that are open stand. Resolves to how many. */
async function untilAllStand(): Promise<number> {
  return vi.waitFor(
    async () => {
      const { activeWorkflows, pausedWorkflows, pausingWorkflows } = await control.getHealth({});
      expect({ activeWorkflows, pausingWorkflows }).toEqual({ activeWorkflows: pausedWorkflows, pausingWorkflows: 0 });
      return pausedWorkflows;
    },
    { timeout: 90_000, interval: 200 },
  );
}

/** Each step of each workflow, once. */
function everyStepOnce(lines: readonly string[], workflows: readonly Ended[], steps: number): void {
  const taken = lines.map((line) => line.split(" ").slice(0, 2).join(" ")).sort();
  const wanted = workflows.flatMap(({ workflow }) =>
    Array.from({ length: steps }, (_, number) => `${workflow} step-${number}`),
  );
  expect(taken).toEqual(wanted.sort());
}

test("200 workflows in four processes are braked in the middle: none takes a step; released, all complete, each step once", {
  timeout: 180_000,
}, async () => {
  const [processes, each, steps] = [4, 50, 8];
  const all = Array.from({ length: processes }, () => runtime("DENY", each, steps, 100));
  const taken = () => all.flatMap((one) => one.taken());
  await vi.waitFor(() => expect(taken().length).toBeGreaterThan(processes * each), { timeout: 60_000 });
  const brakeId = await engage();
  expect(await untilAllStand()).toBe(processes * each);
  const before = taken();
  // Another look at everything: in the time of it, nothing moves.
  expect((await control.listWorkflows({ pageSize: 500 })).workflows).toHaveLength(processes * each);
  expect(await untilAllStand()).toBe(processes * each);
  expect(taken()).toHaveLength(before.length);
  expect(before.length).toBeLessThan(processes * each * steps);
  await brakes.releaseBrake({ brakeId, reason: "fine" });
  const ended = (await Promise.all(all.map((one) => one.ended))).flat();
  expect(ended.map(({ status }) => status)).toEqual(Array(processes * each).fill("SUCCESS"));
  everyStepOnce(taken(), ended, steps);
});

test("the server is killed while they are held: each fail mode does what the page says, and the brake holds again after the start", {
  timeout: 180_000,
}, async () => {
  const [each, steps] = [10, 60];
  const deny = runtime("DENY", each, steps, 250);
  const pause = runtime("PAUSE", each, steps, 250);
  const allow = runtime("ALLOW", each, steps, 250);
  await vi.waitFor(
    () => {
      for (const one of [deny, pause, allow]) expect(one.taken().length).toBeGreaterThan(each);
    },
    { timeout: 60_000 },
  );
  const brakeId = await engage();
  expect(await untilAllStand()).toBe(3 * each);
  const before = { deny: deny.taken().length, pause: pause.taken().length, allow: allow.taken().length };
  server.kill("SIGKILL");
  await once(server, "exit");
  // DENY and PAUSE have their say at once; what goes on meanwhile is what was to go on without us.
  const denied = await deny.ended;
  const paused = await pause.ended;
  await vi.waitFor(() => expect(allow.taken().length).toBeGreaterThan(before.allow));
  await serve();
  expect(denied.map(({ status }) => status)).toEqual(Array(each).fill("ROLLED_BACK"));
  expect(deny.taken()).toHaveLength(before.deny);
  expect(paused.map(({ status, skipped }) => [status, skipped.length])).toEqual(Array(each).fill(["PAUSED", 1]));
  expect(pause.taken()).toHaveLength(before.pause);
  // Those that went on are held again at their next step; nobody has heard of the others since.
  await vi.waitFor(async () => expect((await control.getHealth({})).pausedWorkflows).toBe(each), {
    timeout: 60_000,
    interval: 200,
  });
  const held = allow.taken().length;
  const { workflows } = await control.listWorkflows({ pageSize: 100 });
  expect(workflows).toHaveLength(3 * each);
  expect(allow.taken()).toHaveLength(held);
  await brakes.releaseBrake({ brakeId, reason: "fine" });
  const ended = await allow.ended;
  expect(ended.map(({ status }) => status)).toEqual(Array(each).fill("SUCCESS"));
  everyStepOnce(allow.taken(), ended, steps);
});
