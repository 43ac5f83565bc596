import { appendFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { createGate } from "../../src/gate/index.ts";

/**
 * An agent without an engine of its own that pays batches of refunds, each payment a step that Mission Control can hold:
 * `node main.ts <batches> <refunds> <ms> <ledger>`. In a project of your own: from "mission-control/gate".
 */
const [batches = 1, refunds = 1, ms = 1] = process.argv.slice(2, 5).map(Number);
const ledger = String(process.argv[5]);
const { GATE_URL: url = "", GATE_TOKEN: token = "" } = process.env;
const gate = createGate({ url, token, engine: "agents", log: (line) => process.stdout.write(`${line}\n`) });
await gate.ready();

const pay = gate.wrap(
  async (workflow: string, step: string) => {
    appendFileSync(ledger, `${JSON.stringify({ time: Date.now(), workflow, step })}\n`);
    await delay(ms);
  },
  { name: "refund", agent: "payer", riskLevel: "HIGH" },
);
await Promise.all(
  Array.from({ length: batches }, (_, batch) => {
    const id = `batch-${process.pid}-${batch}`;
    return gate.workflow({ type: "TypeScriptRefunds", id, labels: { team: "payments" } }, async () => {
      for (let i = 1; i <= refunds; i++) await pay(id, `refund-${i}`);
    });
  }),
);
await gate.close();
process.stdout.write(`paid ${batches * refunds} refunds\n`);
