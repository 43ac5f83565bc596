import { randomUUID } from "node:crypto";
import { Agent, request } from "node:http";
import { expect, test, vi } from "vitest";
import { startGateServer } from "../fixture/gate-server.ts";

const [many, atOnce] = [5_000, 250];

test("5,000 requests of a few KB are held at once, and all answered ALLOW on release", {
  timeout: 150_000,
}, async () => {
  const server = await startGateServer();
  const agent = new Agent({ maxSockets: many });
  try {
    const url = await server.hookUrl();
    const { brake } = await server.brakes.engageBrake({ selector: { everything: true }, reason: "all of it" });
    const ask = () => {
      const { promise, resolve, reject } = Promise.withResolvers<string>();
      const sent = request(
        url,
        { agent, method: "POST", headers: { "content-type": "application/json" } },
        (answer) => {
          let got = "";
          answer.setEncoding("utf8").on("data", (chunk: string) => {
            got += chunk;
          });
          answer.on("end", () => resolve((JSON.parse(got) as { decision: string }).decision));
        },
      );
      sent.on("error", (error) => reject(error));
      sent.end(
        JSON.stringify({
          event: "pre_step",
          traceId: "t",
          workflowId: randomUUID(),
          step: { name: "refund", agentName: "support", riskLevel: "HIGH" },
          inputs: { text: "x".repeat(2_000) },
        }),
      );
      return promise;
    };
    const heap = process.memoryUsage().heapUsed;
    const answers: Promise<string>[] = [];
    while (answers.length < many) {
      for (let n = 0; n < atOnce; n++) answers.push(ask());
      await vi.waitFor(async () => expect((await server.control.getHealth({})).activeWorkflows).toBe(answers.length), {
        timeout: 30_000,
        interval: 50,
      });
    }
    // Both ends of each connection are in this process.
    const each = (process.memoryUsage().heapUsed - heap) / many;
    expect(each).toBeLessThan(128 * 1024);
    await server.brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "fine" });
    expect(new Set(await Promise.all(answers))).toEqual(new Set(["ALLOW"]));
  } finally {
    agent.destroy();
    await server.stop();
  }
});
