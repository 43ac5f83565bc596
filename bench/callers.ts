import { parentPort } from "node:worker_threads";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { MissionControl } from "../gen/missioncontrol/v1/mission_control_pb.ts";

/** What a thread of callers is told to do. */
export interface Calls {
  readonly url: string;
  readonly token: string;
  readonly kind: "read" | "control";
  readonly count: number;
  /** Calls at a time. */
  readonly callers: number;
}

/** What it tells when all calls were answered: how long each took, ms. */
export interface Called {
  readonly ms: readonly number[];
}

const workflowId = "restate:inv_1gN5nmrVBout74vX0agJZVIe3YBmlxI1oI";

/** Callers in a thread of their own, so that what they cost is not counted with the server. */
parentPort?.on("message", async ({ url, token, kind, count, callers }: Calls) => {
  const client = createClient(MissionControl, createGrpcTransport({ baseUrl: url }));
  const options = { headers: { authorization: `Bearer ${token}` } };
  let called = 0;
  const call = () =>
    kind === "read"
      ? client.getWorkflow({ workflowId }, options)
      : client.pauseWorkflow({ workflowId, reason: `refunds are paid twice, INC-${++called}` }, options);
  const ms: number[] = [];
  let left = count;
  const caller = async () => {
    while (left-- > 0) {
      const began = performance.now();
      await call();
      ms.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  parentPort?.postMessage({ ms } satisfies Called);
});
