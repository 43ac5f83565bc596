import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { type AttachRequestSchema, type AttachResponse, Gate } from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import { AuditLog } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Brakes } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { call as callOver, doorsOf } from "../fixture/protocols.ts";
import { aRule } from "../gate/rule.ts";
import { type GateServer, startGateServer } from "../gate/server.ts";
import { failure, told } from "../interceptors/server.ts";

type Said = MessageInitShape<typeof AttachRequestSchema>["message"];

let server: GateServer;
beforeAll(async () => {
  server = await startGateServer();
});
afterAll(() => server.stop());

const by = { subject: "alice", reason: "test", entryId: "" };
const hello = {
  case: "hello" as const,
  value: { gate: "g", engine: "restate", instance: "5c6ff0be-3b2c-4b68-93d3-0f2b1a9a6e11" },
};

/** A gate by hand: says what it is told to, one after the other. */
async function open(token: string) {
  const queue: Said[] = [];
  let ring = () => {};
  let over = false;
  async function* messages() {
    for (;;) {
      const message = queue.shift();
      if (message) yield { message: message as never };
      else if (over) return;
      else
        await new Promise<void>((resolve) => {
          ring = resolve;
        });
    }
  }
  const client = createClient(Gate, createGrpcTransport({ baseUrl: server.url }));
  const answers = client.attach(messages(), { headers: { authorization: `Bearer ${token}` } })[Symbol.asyncIterator]();
  return {
    say: (message: Said) => {
      queue.push(message);
      ring();
    },
    end: () => {
      over = true;
      ring();
    },
    next: async (): Promise<AttachResponse | undefined> => (await answers.next()).value,
  };
}

test("attaches, gets the set, confirms it, and leaves; the ledger has its beginning and its end", async () => {
  const revision = server.gates.setRules("restate", [aRule({ workflowIds: ["inv_1"], matchNew: true, types: ["T"] })]);
  const gate = await open(await server.token());
  gate.say(hello);
  expect(await gate.next()).toMatchObject({
    revision,
    more: false,
    unchanged: false,
    rules: [{ brakeId: "br_1", workflowIds: ["inv_1"], matchNew: true, types: ["T"] }],
  });
  gate.say({ case: "applied", value: { revision, stepsInFlight: 2 } });
  expect(await server.gates.untilApplied("restate", revision, 5_000)).toMatchObject([{ gate: "g", stepsInFlight: 2 }]);
  expect(server.gates.attached()).toMatchObject([{ gate: "g", subject: "gate:worker", appliedRevision: revision }]);
  const held = new Promise((resolve) => server.gates.onHeld((...report) => resolve(report)));
  gate.say({ case: "held", value: { workflowIds: ["inv_1"] } });
  expect(await held).toEqual(["restate", ["inv_1"], false]);
  gate.end();
  expect(await gate.next()).toBeUndefined();
  expect(server.gates.attached()).toEqual([]);
  expect((await server.entries()).map(told)).toEqual([
    "SYSTEM gate_token.created",
    "READ gate.attach",
    "OUTCOME gate.attach OK",
  ]);
});

test("a large set comes in parts of a bounded size, and nothing of it is lost", async () => {
  const ids = (brake: number, count: number) => Array.from({ length: count }, (_, i) => `inv_${brake}_${i}`);
  const counts = [50_000, 1, 0, 19_999, 20_000];
  const revision = server.gates.setRules(
    "restate",
    counts.map((count, i) =>
      aRule({ brakeId: `br_${i}`, workflowIds: ids(i, count), matchNew: true, types: [`T${i}`] }),
    ),
  );
  const gate = await open(await server.token());
  gate.say(hello);
  const parts: AttachResponse[] = [];
  do parts.push((await gate.next()) as AttachResponse);
  while (parts.at(-1)?.more);
  for (const part of parts) {
    expect(part.revision).toBe(revision);
    expect(part.rules.reduce((sum, rule) => sum + rule.workflowIds.length, 0)).toBeLessThanOrEqual(20_000);
  }
  const rules = parts.flatMap((part) => part.rules);
  for (const [i, count] of counts.entries()) {
    const own = rules.filter(({ brakeId }) => brakeId === `br_${i}`);
    expect(own.flatMap(({ workflowIds }) => workflowIds)).toEqual(ids(i, count));
    expect(own.filter(({ matchNew }) => matchNew).map(({ types }) => types)).toEqual([[`T${i}`]]);
  }
  server.gates.setRules("restate", []);
  gate.end();
});

describe("is refused with INVALID_ARGUMENT:", () => {
  const cases: [string, Said[], RegExp][] = [
    ["no hello first", [{ case: "applied", value: { revision: 1n } }], /says hello first/],
    ["a second hello", [hello, hello], /says hello once/],
    [
      "a confirmation of what was not sent",
      [hello, { case: "applied", value: { revision: 1n << 62n } }],
      /was not sent/,
    ],
    ["a message with nothing in it", [hello, { case: undefined } as never], /message/],
    ["no name", [{ case: "hello", value: { ...hello.value, gate: "" } } as never], /hello\.gate/],
    [
      "a name without end",
      [{ case: "hello", value: { ...hello.value, gate: "x".repeat(129) } } as never],
      /hello\.gate/,
    ],
    ["no instance", [{ case: "hello", value: { ...hello.value, instance: "1" } } as never], /hello\.instance/],
    ["too many held at once", [hello, { case: "held", value: { workflowIds: Array(1001).fill("x") } }], /workflow_ids/],
    [
      "a report of what the engine knows itself",
      [
        hello,
        {
          case: "report",
          value: {
            firstSequence: 1n,
            events: [
              {
                workflowId: "inv_1",
                time: timestampNow(),
                event: { case: "workflowStarted", value: { type: "T" } },
              },
            ],
          },
        },
      ],
      /knows its workflows itself/,
    ],
    ["a report of nothing", [hello, { case: "report", value: { firstSequence: 1n } }], /report\.events/],
    ["a negative revision", [hello, { case: "applied", value: { revision: -1n } }], /applied\.revision/],
  ];
  test.each(cases)("%s", async (_, messages, told) => {
    const gate = await open(await server.token());
    for (const message of messages) gate.say(message);
    const read = async () => {
      while ((await gate.next()) !== undefined);
    };
    const error = await failure(read());
    expect(error.reason).toBe("INVALID_ARGUMENT");
    expect(error.rawMessage).toMatch(told);
    expect(server.gates.attached()).toEqual([]);
    const last = (await server.entries()).at(-1);
    expect(last).toMatchObject({ action: "gate.attach", resultCode: "INVALID_ARGUMENT", errorReason: error.reason });
  });
});

test("a stream of a gate ends with its token", async () => {
  const gate = await open(await server.token(1_000));
  gate.say(hello);
  await gate.next();
  const error = await failure(gate.next());
  expect(error.reason).toBe("TOKEN_EXPIRED");
  expect(server.gates.attached()).toEqual([]);
});

test("nobody attaches without a gate token: no role of a person's lets anybody, whatever it may do", async () => {
  const failed = async (token: string) => {
    const gate = await open(token);
    gate.say(hello);
    return (await failure(gate.next())).reason;
  };
  expect(await failed("")).toMatch(/TOKEN_/);
  for (const role of ["viewer", "auditor", "sre", "sre_admin", "gate"]) {
    expect(await failed(await server.jwt(role))).toBe("TOKEN_MALFORMED");
  }
  expect(await failed(`mcgt_${"A".repeat(43)}`)).toBe("TOKEN_INVALID");
});

describe("a token of a gate can call nothing else:", () => {
  const others = [MissionControl, AuditLog, Brakes].flatMap((service) =>
    service.methods.flatMap((method) =>
      doorsOf(method).map((door) => ({ name: `${method.name} over ${door.name}`, method, door })),
    ),
  );
  test.each(others)("$name", async ({ method, door }) => {
    const ids = { workflowId: "restate:inv_1", brakeId: "br_1", entryId: "ae_1" };
    const fields = Object.fromEntries(Object.entries(ids).filter(([field]) => field in method.input.field));
    const answer = await callOver(door, server.url, fields, { token: await server.token() });
    expect(`${answer.code} ${answer.reason}`).toBe("UNAUTHENTICATED TOKEN_MALFORMED");
    expect(server.reached).toEqual([]);
  });

  test("reflection", async () => {
    const client = createClient(ServerReflection, createGrpcTransport({ baseUrl: server.url }));
    const headers = { authorization: `Bearer ${await server.token()}` };
    const asked = async function* () {
      yield { messageRequest: { case: "listServices" as const, value: "" } };
    };
    const answers = client.serverReflectionInfo(asked(), { headers })[Symbol.asyncIterator]();
    expect((await failure(answers.next())).reason).toBe("TOKEN_MALFORMED");
  });
});

test("a gate token is for one engine: a gate of another is refused", async () => {
  const gate = await open(await server.token());
  gate.say({ case: "hello", value: { ...hello.value, engine: "other" } });
  const error = await failure(gate.next());
  expect(error.reason).toBe("GATE_TOKEN_SCOPE");
  expect(error.rawMessage).toBe("this gate token is for engine restate, not for other: make one for it");
  expect(server.gates.attached()).toEqual([]);
});

test("a gate whose token is revoked is detached at once, and does not come back", async () => {
  const { token, secret } = await server.gateTokens.create({ name: "revoked", engine: "restate" }, by);
  const gate = await open(secret);
  gate.say(hello);
  await gate.next();
  await server.gateTokens.revoke(token.gateTokenId, by);
  expect((await failure(gate.next())).reason).toBe("TOKEN_REVOKED");
  expect(server.gates.attached()).toEqual([]);
  const again = await open(secret);
  again.say(hello);
  expect((await failure(again.next())).reason).toBe("TOKEN_REVOKED");
});
