import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tool } from "@langchain/core/tools";
import { Command, END, interrupt, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { afterEach, beforeEach, expect, test } from "vitest";
import * as z from "zod";
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

test("a node that stops at an interrupt has not failed: its step is canceled, and taken anew by the run that goes on", async () => {
  const answers: unknown[] = [];
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("before", () => ({}))
    .addNode("ask", () => {
      answers.push(interrupt("may I?"));
      return {};
    })
    .addEdge(START, "before")
    .addEdge("before", "ask")
    .addEdge("ask", END)
    .compile({ checkpointer: new MemorySaver() })
    .withConfig({ callbacks: [gateLangGraph(gate, { type: "T", labels: { team: "payments" } })] });
  const options = { configurable: { thread_id: "thread-1" } };
  await graph.invoke(asking("?"), options);
  await told();
  const [stopped] = await listed();
  expect(await stepsOf(String(stopped?.id))).toEqual(["before succeeded", "ask canceled"]);
  expect(stopped?.status).toBe("completed");
  expect(answers).toEqual([]);
  await graph.invoke(new Command({ resume: "yes" }), options);
  await told();
  const resumed = (await listed()).find(({ id }) => id !== stopped?.id);
  expect(resumed).toMatchObject({ status: "completed", labels: { thread: "thread-1", team: "payments" } });
  expect(await stepsOf(String(resumed?.id))).toEqual(["ask succeeded"]);
  expect(answers).toEqual(["yes"]);
});

test("a node that hands over to its parent graph has not failed either, and the run goes on", async () => {
  const ran: string[] = [];
  const inner = new StateGraph(MessagesAnnotation)
    .addNode("hand over", () => new Command({ goto: "other", graph: Command.PARENT }))
    .addEdge(START, "hand over")
    .compile();
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("inner", inner, { ends: ["other"] })
    .addNode("other", () => {
      ran.push("other");
      return {};
    })
    .addEdge(START, "inner")
    .addEdge("other", END)
    .compile()
    .withConfig({ callbacks: [gateLangGraph(gate, { type: "T" })] });
  await graph.invoke(asking("?"));
  await told();
  const [run] = await listed();
  expect(await listed()).toHaveLength(1);
  const steps = await stepsOf(String(run?.id));
  expect(steps).toContain("hand over canceled");
  expect(steps.filter((step) => step.endsWith("failed"))).toEqual([]);
  expect(steps.at(-1)).toBe("other succeeded");
  expect(run?.status).toBe("completed");
  expect(ran).toEqual(["other"]);
});

test("what tools are given is told where it is asked for", async () => {
  await server.close();
  await server.start([], { redact: ["order"], maxBytes: 200 });
  for (const toolInputs of [false, true]) {
    const callbacks = [gateLangGraph(gate, { type: `Support ${toolInputs}`, toolInputs })];
    await supportGraph(ledger).withConfig({ callbacks }).invoke(asking("Where is A-1001?"));
  }
  await told();
  const inputsOf = async (type: string) => {
    const [run] = await server.agents.list({ types: [type], limit: 1 });
    const tools = (await server.agents.trace(String(run?.id)))?.filter(({ name }) => name.startsWith("tool "));
    return tools?.map(({ inputs }) => inputs);
  };
  expect(await inputsOf("Support false")).toEqual([undefined, undefined]);
  expect(await inputsOf("Support true")).toEqual(['{"order":"(redacted)"}', '{"order":"(redacted)","cents":2499}']);
});

test("a tool that fails is a step that failed, and so is the run that ends with it", async () => {
  const fails = tool(
    () => {
      throw new TypeError("no such order");
    },
    { name: "find", schema: z.object({}) },
  );
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("node", async () => {
      await fails.invoke({});
      return {};
    })
    .addEdge(START, "node")
    .addEdge("node", END)
    .compile()
    .withConfig({ callbacks: [gateLangGraph(gate, { type: "T" })] });
  await expect(graph.invoke(asking("?"))).rejects.toThrow("no such order");
  await told();
  const [run] = await listed();
  expect(run).toMatchObject({ status: "failed", errorMessage: "TypeError: no such order" });
  expect((await stepsOf(String(run?.id))).toSorted()).toEqual(["node failed", "tool find failed"]);
});
