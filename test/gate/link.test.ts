import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { HooksProvider } from "@restatedev/restate-sdk";
import { PauseError } from "@restatedev/restate-sdk";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createGate, type Gate, type GateOptions } from "../../src/gate/index.ts";
import { aRule, newOnes } from "./rule.ts";
import { type GateServer, startGateServer } from "./server.ts";

let server: GateServer;
const gates: Gate[] = [];
beforeEach(async () => {
  server = await startGateServer();
});
afterEach(async () => {
  for (const gate of gates.splice(0)) await gate.close();
  await server.stop();
});

function open(options: Partial<GateOptions> = {}): Gate {
  const limits = { firstDelayMs: 10, longestDelayMs: 50, ...options.limits };
  const gate = createGate({ url: server.url, token: () => server.token(), name: "g", ...options, limits });
  gates.push(gate);
  return gate;
}

/** Asks the gate as the SDK does before a step of an invocation. */
async function step(gate: Gate, id = "inv_1", type = "T"): Promise<"ran" | "held"> {
  const target = { service: type, handler: "run", key: undefined, toString: () => `${type}/run` };
  const request = { id, target, attemptCompletedSignal: new AbortController().signal };
  const hooks = gate.hooks({ request } as unknown as Parameters<HooksProvider>[0]);
  try {
    let ran = false;
    await hooks.interceptor?.run?.("step", async () => {
      ran = true;
    });
    return ran ? "ran" : "held";
  } catch (error) {
    expect(error).toBeInstanceOf(PauseError);
    return "held";
  }
}

const applied = async (revision: bigint) =>
  (await server.gates.untilApplied("restate", revision, 5_000)).map(({ appliedTime }) => appliedTime !== undefined);

/** Resolves as soon as the gate's log has such a line. */
function logging() {
  const lines: string[] = [];
  let ring = () => {};
  return {
    lines,
    log: (line: string) => {
      lines.push(line);
      ring();
    },
    async until(pattern: RegExp) {
      while (!lines.some((line) => pattern.test(line))) {
        await new Promise<void>((resolve) => {
          ring = resolve;
        });
      }
    },
  };
}

test("comes up by itself when the server starts later; a step in the meantime goes on at once", async () => {
  await server.close();
  const gate = open();
  expect(await step(gate)).toBe("ran");
  expect(gate.state()).toMatchObject({ connected: false, mode: "open", revision: 0n });
  await server.start();
  await gate.ready();
  expect(gate.state()).toMatchObject({ connected: true, mode: "connected", brakes: 0 });
});

test("holds by the rules as they come and go", async () => {
  const gate = open();
  await gate.ready();
  expect(await applied(server.gates.setRules("restate", [aRule({ workflowIds: ["inv_1"] })]))).toEqual([true]);
  expect([await step(gate), await step(gate, "inv_2")]).toEqual(["held", "ran"]);
  expect(await applied(server.gates.setRules("restate", [newOnes({ types: ["T"] })]))).toEqual([true]);
  expect([await step(gate), await step(gate, "inv_2"), await step(gate, "inv_3", "U")]).toEqual([
    "held",
    "held",
    "ran",
  ]);
  expect(await applied(server.gates.setRules("restate", []))).toEqual([true]);
  expect(await step(gate)).toBe("ran");
});

test("the server stops: the last known rules hold; it starts anew with others: those hold", async () => {
  const logged = logging();
  const gate = open({ log: logged.log });
  await gate.ready();
  await applied(server.gates.setRules("restate", [aRule({ workflowIds: ["inv_1"] })]));
  await server.close();
  await logged.until(/no connection/);
  expect(gate.state()).toMatchObject({ connected: false, mode: "stale", brakes: 1, workflows: 1 });
  expect([await step(gate), await step(gate, "inv_2")]).toEqual(["held", "ran"]);
  logged.lines.length = 0;
  await server.start();
  server.gates.setRules("restate", [aRule({ workflowIds: ["inv_2"] })]);
  await logged.until(/connected/);
  await applied(server.gates.setRules("restate", [aRule({ workflowIds: ["inv_2"] })]));
  expect([await step(gate), await step(gate, "inv_2")]).toEqual(["ran", "held"]);
});

test("what was held without a connection is reported when there is one", async () => {
  const logged = logging();
  const gate = open({ log: logged.log, whenDisconnected: "hold", staleLimitMs: 0 });
  await gate.ready();
  await server.close();
  await logged.until(/no connection/);
  while (gate.state().mode !== "closed") await new Promise((resolve) => setTimeout(resolve, 5));
  expect([await step(gate, "inv_1"), await step(gate, "inv_2"), await step(gate, "inv_1")]).toEqual(
    Array(3).fill("held"),
  );
  await server.start();
  const ids = await new Promise((resolve) => server.gates.onHeld((_, workflowIds) => resolve(workflowIds)));
  expect(ids).toEqual(["inv_1", "inv_2"]);
  expect(await step(gate)).toBe("ran");
});

test("without a connection for longer than its limit, go on holds nothing", async () => {
  const gate = open({ staleLimitMs: 30 });
  await gate.ready();
  await applied(server.gates.setRules("restate", [aRule({ workflowIds: ["inv_1"] })]));
  await server.close();
  while (gate.state().mode !== "open") await new Promise((resolve) => setTimeout(resolve, 5));
  expect(await step(gate)).toBe("ran");
});

test("2,500 held workflows are reported in parts of at most 1,000, each once", async () => {
  const gate = open();
  await gate.ready();
  await applied(server.gates.setRules("restate", [newOnes()]));
  const reports: (readonly string[])[] = [];
  const all = new Promise<void>((resolve) =>
    server.gates.onHeld((_, ids) => {
      reports.push(ids);
      if (reports.flat().length >= 2_500) resolve();
    }),
  );
  await Promise.all(Array.from({ length: 2_500 }, (_, i) => step(gate, `inv_${i}`)));
  await all;
  expect(new Set(reports.flat()).size).toBe(2_500);
  expect(reports.length).toBeLessThanOrEqual(4);
});

test("a set with 100,000 workflows arrives whole", async () => {
  const gate = open();
  await gate.ready();
  const workflowIds = Array.from({ length: 100_000 }, (_, i) => `inv_1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa${i}`);
  expect(await applied(server.gates.setRules("restate", [aRule({ workflowIds })]))).toEqual([true]);
  expect(gate.state()).toMatchObject({ workflows: 100_000 });
  expect([await step(gate, workflowIds[0]), await step(gate, workflowIds.at(-1)), await step(gate, "x")]).toEqual([
    "held",
    "held",
    "ran",
  ]);
});

test("the token is asked for anew at each attempt: one that was refused or has expired is followed by a good one", async () => {
  const logged = logging();
  const tokens = [await server.jwt("sre_admin"), await server.token(1_000)];
  const gate = open({ log: logged.log, token: () => tokens.shift() ?? server.token() });
  await gate.ready();
  expect(logged.lines[0]).toMatch(/no connection to Mission Control: .*gates attach with a gate token/);
  await logged.until(/expired/);
  while (!gate.state().connected) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(tokens).toEqual([]);
});

test("a token that cannot be had, or never comes, blocks nothing", async () => {
  const logged = logging();
  const answers = [
    () => Promise.reject(new Error("no such file")),
    () => new Promise<string>(() => {}),
    () => server.token(),
  ];
  const gate = open({ log: logged.log, token: () => answers.shift()?.() ?? "", limits: { attachMs: 200 } });
  expect(await step(gate)).toBe("ran");
  await gate.ready();
  expect(logged.lines).toEqual([
    expect.stringContaining("no such file"),
    expect.stringContaining("said nothing for 200 ms"),
    expect.stringContaining("connected"),
  ]);
});

test("a server that takes connections and says nothing is given up and tried again; no step waits for it", async () => {
  const sockets: Socket[] = [];
  const mute = createServer((socket) => sockets.push(socket.on("error", () => {})));
  mute.listen(0, "127.0.0.1");
  await once(mute, "listening");
  const logged = logging();
  const url = `http://127.0.0.1:${(mute.address() as AddressInfo).port}`;
  const gate = open({ url, log: logged.log, limits: { attachMs: 100 } });
  await logged.until(/said nothing for 100 ms/);
  expect(await step(gate)).toBe("ran");
  await gate.close();
  for (const socket of sockets) socket.destroy();
  mute.close();
});

test("closed, it has left: the hub waits for it no more, and ready() of a gate that never was is rejected", async () => {
  const gate = open();
  await gate.ready();
  expect(server.gates.attached()).toHaveLength(1);
  await gate.close();
  expect(server.gates.attached()).toEqual([]);
  expect(await server.gates.untilApplied("restate", 1n << 60n, 60_000)).toEqual([]);
  await server.close();
  const never = open();
  const ready = never.ready();
  await never.close();
  await expect(ready).rejects.toThrow("the gate was closed");
});

test("options that cannot be used are refused by name", () => {
  const create = (options: object) => () => createGate({ url: server.url, token: "t", ...options });
  expect(create({ url: "localhost:8030" })).toThrow("url has to be an http:// or https:// URL");
  expect(create({ token: "" })).toThrow("there is no token");
  expect(create({ name: "x".repeat(129) })).toThrow("name has to have 1 to 128 characters");
  expect(create({ whenDisconnected: "stop" })).toThrow('has to be "go on" or "hold"');
  expect(create({ staleLimitMs: -1 })).toThrow("staleLimitMs has to be 0 or more");
});
