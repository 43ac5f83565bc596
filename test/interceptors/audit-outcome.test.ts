import { DatabaseSync } from "node:sqlite";
import { fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import { AuditEntry_Phase, AuditEntrySchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { MissionControlError } from "../../src/errors.ts";
import { callOf } from "../../src/interceptors/context.ts";
import { failure, startServer, type TestServer, told } from "./server.ts";

let server: TestServer;
afterEach(() => server.close());
const kept = {
  key: "key",
  requestDigest: Uint8Array.of(1),
  response: Uint8Array.of(2),
  brakeId: "br_1",
  time: Date.now(),
};
const pause = { workflowId: "inv_1", reason: "it pays twice" };
const client = () => createClient(MissionControl, server.transport());
/** The entries, once there are as many as expected: a stream's last one is written when the server sees it end. */
const entriesOf = (count: number) => expect.poll(async () => (await server.entries()).map(told)).toHaveLength(count);

describe("an intent", () => {
  it("is durable before the service runs", async () => {
    const seen: unknown[] = [];
    server = await startServer({
      handlers: {
        pauseWorkflow(_, context) {
          // Another connection sees only what is committed.
          const db = new DatabaseSync(server.databasePath, { readOnly: true });
          seen.push(...db.prepare("SELECT bytes FROM entry").all());
          db.close();
          return { auditEntryId: callOf(context.values).entryId ?? "" };
        },
      },
    });
    const answer = await client().pauseWorkflow(pause, await server.as("sre"));
    expect(seen.map((row) => fromBinary(AuditEntrySchema, (row as { bytes: Uint8Array }).bytes))).toMatchObject([
      {
        entryId: answer.auditEntryId,
        phase: AuditEntry_Phase.INTENT,
        target: "restate:inv_1",
        action: "runtime.pause",
      },
    ]);
  });

  it("is not made for a caller who has gone", async () => {
    let resolving = () => {};
    const reached = new Promise<void>((resolve) => {
      resolving = resolve;
    });
    server = await startServer({
      deps: {
        resolveTarget: (_id, _sight, signal) =>
          new Promise((_, reject) => {
            signal.addEventListener("abort", () => reject(Object.assign(new Error("stopped"), { name: "AbortError" })));
            resolving();
          }),
      },
    });
    const caller = new AbortController();
    const call = failure(client().pauseWorkflow(pause, { ...(await server.as("sre")), signal: caller.signal }));
    await reached;
    caller.abort();
    expect((await call).code).toBe(Code.Canceled);
    await entriesOf(1);
    expect((await server.entries()).map(told)).toEqual(["DENIED runtime.pause CANCELLED"]);
    expect(server.executed).toEqual([]);
  });
});

describe("an outcome", () => {
  it("says what the service observed, and commits what goes with it", async () => {
    server = await startServer({
      handlers: {
        pauseWorkflow(_, context) {
          const call = callOf(context.values);
          call.observedStatus = Workflow_Status.PAUSING;
          call.brakeId = "br_1";
          call.also = { answers: [kept] };
          return {};
        },
      },
    });
    await client().pauseWorkflow(pause, await server.as("sre"));
    const [intent, outcome] = await server.entries();
    expect(outcome).toMatchObject({
      intentEntryId: intent?.entryId,
      observedStatus: Workflow_Status.PAUSING,
      brakeId: "br_1",
    });
    expect(await server.store.answer("key")).toEqual(kept);
    expect(await server.store.openIntents()).toEqual([]);
  });

  it("of a call that failed in the service says how, of a read too", async () => {
    server = await startServer({
      handlers: {
        pauseWorkflow() {
          throw new MissionControlError("WORKFLOW_ENDED", "restate:inv_1 has ended: there is nothing to pause");
        },
        getHealth() {
          throw new Error("a defect with the password hunter2 in it");
        },
      },
    });
    const ended = await failure(client().pauseWorkflow(pause, await server.as("sre")));
    expect(ended).toMatchObject({ code: Code.FailedPrecondition, reason: "WORKFLOW_ENDED" });
    const defect = await failure(client().getHealth({}, await server.as("viewer")));
    expect(defect).toMatchObject({ code: Code.Internal, reason: "INTERNAL" });
    expect(defect.message).not.toContain("hunter2");
    expect((await server.entries()).map(told)).toEqual([
      "INTENT runtime.pause",
      "OUTCOME runtime.pause FAILED_PRECONDITION WORKFLOW_ENDED",
      "READ runtime.health",
      "OUTCOME runtime.health INTERNAL INTERNAL",
    ]);
    expect(JSON.stringify((await server.entries()).map(({ message }) => message))).not.toContain("hunter2");
    expect(server.lines.some((line) => line.includes("hunter2"))).toBe(true);
  });

  it("that cannot be written changes no answer: it is an alarm, and the intent stays open until it can be", async () => {
    let other: DatabaseSync | undefined;
    const lock = () => {
      other = new DatabaseSync(server.databasePath);
      other.exec("BEGIN IMMEDIATE");
    };
    server = await startServer({
      handlers: {
        pauseWorkflow(_, context) {
          Object.assign(callOf(context.values), {
            observedStatus: Workflow_Status.PAUSED,
            also: { answers: [kept] },
          });
          lock();
          return { newStatus: Workflow_Status.PAUSED, auditEntryId: "it happened" };
        },
        resumeWorkflow() {
          lock();
          throw new MissionControlError("HELD_IN_ENGINE", "somebody paused it in the engine");
        },
      },
    });
    const answer = await client().pauseWorkflow(pause, await server.as("sre"));
    expect(answer).toMatchObject({ newStatus: Workflow_Status.PAUSED, auditEntryId: "it happened" });
    expect(server.ledger.fault).toBeDefined();
    expect(server.lines.filter((line) => line.includes("ALARM"))).toHaveLength(1);
    expect((await server.store.openIntents()).map(told)).toEqual(["INTENT runtime.pause"]);
    expect(server.lateOutcomes.count).toBe(1);
    other?.close();
    await expect.poll(() => server.store.openIntentCount).toBe(0);

    const error = await failure(client().resumeWorkflow(pause, await server.as("sre")));
    expect(error.reason).toBe("HELD_IN_ENGINE");
    expect(server.store.openIntentCount).toBe(1);
    other?.close();
    await expect.poll(() => server.store.openIntentCount).toBe(0);
    expect(server.lateOutcomes.count).toBe(0);
    const entries = await server.entries();
    expect(entries.map(told)).toEqual([
      "INTENT runtime.pause",
      "OUTCOME runtime.pause OK",
      "INTENT runtime.resume",
      "OUTCOME runtime.resume FAILED_PRECONDITION HELD_IN_ENGINE",
    ]);
    // What the caller was told, not what could be guessed afterwards.
    expect(entries[1]).toMatchObject({
      intentEntryId: entries[0]?.entryId,
      observedStatus: Workflow_Status.PAUSED,
      message: expect.stringContaining("written late"),
    });
    expect(entries[3]?.message).toMatch(/somebody paused it in the engine; written late/);
    expect(await server.store.answer("key")).toEqual(kept);
  });
});

describe("a stream", () => {
  async function* endless(_: unknown, { signal }: { signal: AbortSignal }) {
    yield {};
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  }

  /** Reads one message, then goes away. */
  async function leave() {
    const reader = new AbortController();
    const stream = client().watchWorkflows({}, { ...(await server.as("viewer")), signal: reader.signal });
    const read = async () => {
      for await (const _ of stream) reader.abort();
    };
    expect((await failure(read())).code).toBe(Code.Canceled);
  }

  it("that its reader leaves has an outcome", async () => {
    server = await startServer({ handlers: { watchWorkflows: endless } });
    await leave();
    await entriesOf(2);
    expect((await server.entries()).map(told)).toEqual(["READ runtime.watch", "OUTCOME runtime.watch CANCELLED"]);
  });

  it("that its reader leaves has an outcome even where the service does not heed its signal", async () => {
    server = await startServer({
      handlers: {
        async *watchWorkflows() {
          yield {};
          await new Promise(() => {});
        },
      },
    });
    await leave();
    await entriesOf(2);
    expect((await server.entries()).map(told)).toEqual(["READ runtime.watch", "OUTCOME runtime.watch CANCELLED"]);
  });

  it("that fails on the way has an outcome, and tells its reader", async () => {
    server = await startServer({
      handlers: {
        async *watchWorkflows() {
          yield {};
          throw new MissionControlError("SLOW_CONSUMER", "read faster");
        },
      },
    });
    const stream = client().watchWorkflows({}, await server.as("viewer"));
    const read = async () => {
      for await (const _ of stream);
    };
    expect(await failure(read())).toMatchObject({ code: Code.ResourceExhausted, reason: "SLOW_CONSUMER" });
    expect((await server.entries()).map(told)).toEqual([
      "READ runtime.watch",
      "OUTCOME runtime.watch RESOURCE_EXHAUSTED SLOW_CONSUMER",
    ]);
  });

  it.each([
    ["heeds", true],
    ["ignores", false],
  ])("ends with TOKEN_EXPIRED when its token does, where the service %s its signal", async (_, heeds) => {
    let aborted = false;
    server = await startServer({
      handlers: {
        async *watchWorkflows(_, { signal }) {
          signal.addEventListener("abort", () => {
            aborted = true;
          });
          yield {};
          await new Promise<void>((resolve) => {
            if (heeds) signal.addEventListener("abort", () => resolve());
          });
        },
      },
    });
    const received: number[] = [];
    const stream = client().watchWorkflows({}, await server.as("viewer", { expiresIn: 2 }));
    const read = async () => {
      for await (const _ of stream) received.push(Date.now());
    };
    const start = Date.now();
    expect(await failure(read())).toMatchObject({ code: Code.Unauthenticated, reason: "TOKEN_EXPIRED" });
    expect(received).toHaveLength(1);
    expect(Date.now() - start).toBeLessThan(3000);
    expect(aborted).toBe(true);
    expect((await server.entries()).map(told)).toEqual([
      "READ runtime.watch",
      "OUTCOME runtime.watch UNAUTHENTICATED TOKEN_EXPIRED",
    ]);
  });

  it("of a token that is good for longer than a timer can wait goes on", async () => {
    server = await startServer();
    let count = 0;
    const year = 365 * 24 * 60 * 60;
    for await (const _ of client().watchWorkflows({}, await server.as("viewer", { expiresIn: year }))) count += 1;
    expect(count).toBe(1);
  });
});

it("a deadline that passes in the service is told as one", async () => {
  server = await startServer({
    handlers: {
      getHealth: (_, { signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
        }),
    },
  });
  // Only the header: a clock of the client's own would race the server's.
  const { headers } = await server.as("viewer");
  const error = await failure(client().getHealth({}, { headers: { ...headers, "grpc-timeout": "300m" } }));
  expect(error).toBeInstanceOf(ConnectError);
  expect(error.code).toBe(Code.DeadlineExceeded);
  await entriesOf(2);
  expect((await server.entries()).map(told)[1]).toBe("OUTCOME runtime.health DEADLINE_EXCEEDED");
});
