import { setTimeout as delay } from "node:timers/promises";
// In a project of your own: from "mission-control/gate" and "mission-control/gate/langgraph".
import { createGate } from "../../src/gate/index.ts";
import { gateLangGraph } from "../../src/gate/langgraph.ts";
import { asking, supportGraph } from "./support.ts";

const { GATE_URL: url = "http://127.0.0.1:8030", GATE_TOKEN: token = "", GATE_ENGINE: engine = "agents" } = process.env;
const questions = Number(process.argv[2] ?? 10);
const gate = createGate({ url, token, engine, log: (line) => console.log(line) });
await gate.ready();

const graph = supportGraph("support-refunds.jsonl").withConfig({
  callbacks: [gateLangGraph(gate, { type: "Support" })],
});

for (let i = 0; i < questions; i++) {
  const { messages } = await graph.invoke(asking(`Where is A-${1_001 + (i % 2)}?`));
  console.log(messages.at(-1)?.text);
  await delay(1_000);
}
await gate.close();
