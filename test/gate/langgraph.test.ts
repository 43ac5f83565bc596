import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { END, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { afterEach, beforeEach, expect, test } from "vitest";
import { asking, supportGraph } from "../../examples/langgraph/support.ts";
import { createGate, type Gate } from "../../src/gate/index.ts";
import { gateLangGraph } from "../../src/gate/langgraph.ts";
import { until } from "../fixture/dev-process.ts";
import { type aRule, newOnes } from "./rule.ts";
import { type GateServer, startGateServer } from "./server.ts";

let server: GateServer;
let gate: Gate;
const folder = mkdtempSync(join(tmpdir(), "mc-langgraph-"));
const ledger = join(folder, "refunds.jsonl");
beforeEach(async () => {
  server = await startGateServer();
  gate = createGate({ url: server.url, token: await server.token(undefined, "agents"), engine: "agents" });
  await gate.ready();
});
afterEach(async () => {
  await gate.close();
  await server.stop();
  rmSync(ledger, { force: true });
});

const rules = async (...all: ReturnType<typeof aRule>[]) => {
  const revision = server.gates.setRules("agents", all);
  await server.gates.untilApplied("agents", revision, 5_000);
};
const refunds = () => readFileSync(ledger, { encoding: "utf8", flag: "a+" }).split("\n").filter(Boolean);
const told = () => until("the reports to arrive", () => gate.state().unacknowledgedReports === 0);
const listed = () => server.agents.list({ limit: 10 });
const stepsOf = async (id: string) =>
  ((await server.agents.trace(id)) ?? [])
    .filter(({ kind }) => kind === "step")
    .map((one) => `${one.name} ${one.outcome}`);

test("the example's nodes and tools are steps of a run, and it answers what it answers without a gate", async () => {
  const plain = await supportGraph(ledger).invoke(asking("Where is A-1001?"));
  const gated = supportGraph(ledger).withConfig({ callbacks: [gateLangGraph(gate, { type: "Support" })] });
  const { messages } = await gated.invoke(asking("Where is A-1001?"));
  expect(messages.map(({ text }) => text)).toEqual(plain.messages.map(({ text }) => text));
  expect(messages.at(-1)?.text).toBe("Hello! It was late: 24.99 € are on their way. Yours, support");
  await told();
  const [run] = await listed();
  expect(run).toMatchObject({ type: "Support", status: "completed" });
  const steps = ["plan", "tools", "tool find_order", "plan", "tools", "tool issue_refund", "plan", "reply"];
  expect(await stepsOf(String(run?.id))).toEqual(steps.map((name) => `${name} succeeded`));
});

test("held, neither node nor tool runs; released, the run goes on and pays once", async () => {
  const graph = supportGraph(ledger).withConfig({ callbacks: [gateLangGraph(gate, { type: "Support" })] });
  await rules(newOnes({ types: ["Support"] }));
  const answered = graph.invoke(asking("Where is A-1001?"));
  await until("the run to be there", async () => (await listed()).length === 1);
  const [run] = await listed();
  await server.agents.hold([String(run?.id)]);
  await until("the run to stand", async () => (await listed())[0]?.status === "paused");
  expect(await stepsOf(String(run?.id))).toEqual([]);
  expect(refunds()).toEqual([]);
  await server.agents.release([String(run?.id)]);
  await rules();
  await answered;
  expect(refunds()).toEqual(['{"order":"A-1001","cents":2499}']);
});

test("a run that is given up while it is held ends as failed, and its node never runs", async () => {
  await rules(newOnes());
  let ran = false;
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("node", () => {
      ran = true;
      return {};
    })
    .addEdge(START, "node")
    .addEdge("node", END)
    .compile({ checkpointer: new MemorySaver() })
    .withConfig({ callbacks: [gateLangGraph(gate, { type: "T" })] });
  const leave = new AbortController();
  const options = { signal: leave.signal, configurable: { thread_id: "thread-1" } };
  const answered = graph.invoke(asking("?"), options);
  await until("the run to be there", async () => (await listed()).length === 1);
  leave.abort();
  await expect(answered).rejects.toThrow();
  await rules();
  await until("the run to have ended", async () => (await listed())[0]?.status === "failed");
  expect((await listed())[0]?.labels).toEqual({ thread: "thread-1" });
  expect(ran).toBe(false);
});

test("a node that fails and is tried again is two steps", async () => {
  let attempts = 0;
  const graph = new StateGraph(MessagesAnnotation)
    .addNode(
      "flaky",
      () => {
        if (++attempts === 1) throw new TypeError("not yet");
        return {};
      },
      { retryPolicy: { maxAttempts: 2, initialInterval: 1, retryOn: () => true } },
    )
    .addEdge(START, "flaky")
    .addEdge("flaky", END)
    .compile()
    .withConfig({ callbacks: [gateLangGraph(gate, { type: "T" })] });
  await graph.invoke(asking("?"));
  await told();
  expect(await stepsOf(String((await listed())[0]?.id))).toEqual(["flaky failed", "flaky succeeded"]);
});
