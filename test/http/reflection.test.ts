import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { create, createFileRegistry, fromBinary, getOption, type MessageInitShape } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { http } from "../../gen/google/api/annotations_pb.ts";
import {
  type ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflection as V1,
} from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as V1Alpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { governance } from "../../gen/missioncontrol/v1/governance_pb.ts";
import { bearer, type Fixture, startPort } from "./fixture.ts";
import { grpcClient } from "./grpc-js.ts";

const run = promisify(execFile);

let f: Fixture;
beforeAll(async () => {
  f = await startPort();
});
afterAll(() => f.port.close(0));

describe.each([
  ["v1", V1],
  ["v1alpha", V1Alpha],
])("reflection %s, asked by grpc-js", (_, service) => {
  type Query = MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"];

  async function ask(...queries: Query[]) {
    const grpc = grpcClient(f.url);
    const stream = grpc.bidi(service.method.serverReflectionInfo as typeof V1.method.serverReflectionInfo);
    for (const messageRequest of queries) {
      stream.write(create(service.method.serverReflectionInfo.input, { host: "h", messageRequest } as never));
    }
    stream.end();
    try {
      const answers: ServerReflectionResponse["messageResponse"][] = [];
      for await (const { validHost, originalRequest, messageResponse } of stream) {
        expect(validHost).toBe("h");
        expect(originalRequest?.messageRequest.case).toBe(queries[answers.length]?.case);
        answers.push(messageResponse);
      }
      return answers;
    } finally {
      grpc.close();
    }
  }

  it("lists the services", async () => {
    const [answer] = await ask({ case: "listServices", value: "" });
    if (answer?.case !== "listServicesResponse") throw new Error(answer?.case);
    expect(answer.value.service.map(({ name }) => name)).toEqual([
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "missioncontrol.v1.AuditLog",
      "missioncontrol.v1.MissionControl",
    ]);
  });

  it("gives a symbol's file with all that it imports, options included", async () => {
    const symbols = [
      "missioncontrol.v1.MissionControl",
      "missioncontrol.v1.MissionControl.PauseWorkflow",
      "missioncontrol.v1.PauseWorkflowRequest",
      "missioncontrol.v1.PauseWorkflowRequest.reason",
    ];
    for (const answer of await ask(...symbols.map((value) => ({ case: "fileContainingSymbol" as const, value })))) {
      if (answer.case !== "fileDescriptorResponse") throw new Error(answer.case);
      const file = answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
      expect(file[0]?.name).toBe("missioncontrol/v1/mission_control.proto");
      // Complete: what is imported is there, else the registry could not be made.
      const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: inOrder(file) }));
      const pause = registry.getService("missioncontrol.v1.MissionControl")?.method.pauseWorkflow;
      if (pause === undefined) throw new Error("no PauseWorkflow");
      expect(getOption(pause, governance).permission).toBe("workflows.pause");
      expect(getOption(pause, http).pattern.value).toBe("/v1/workflows/{workflow_id}/pause");
    }
  });

  it("finds enums, nested types, enum values, files and extensions", async () => {
    const answers = await ask(
      { case: "fileContainingSymbol", value: "missioncontrol.v1.Workflow.Status" },
      { case: "fileContainingSymbol", value: "missioncontrol.v1.Workflow.PAUSED" },
      { case: "fileContainingSymbol", value: ".google.protobuf.Timestamp" },
      { case: "fileByFilename", value: "google/protobuf/timestamp.proto" },
      {
        case: "fileContainingExtension",
        value: { containingType: "google.protobuf.MethodOptions", extensionNumber: 50801 },
      },
    );
    expect(
      answers.map((answer) => answer.case === "fileDescriptorResponse" && nameOf(answer.value.fileDescriptorProto[0])),
    ).toEqual([
      "missioncontrol/v1/workflow.proto",
      "missioncontrol/v1/workflow.proto",
      "google/protobuf/timestamp.proto",
      "google/protobuf/timestamp.proto",
      "missioncontrol/v1/governance.proto",
    ]);
    const [numbers] = await ask({ case: "allExtensionNumbersOfType", value: "google.protobuf.MethodOptions" });
    expect(numbers).toMatchObject({ value: { extensionNumber: [50801, 72295728] } });
  });

  it("tells what is not there, and goes on", async () => {
    const answers = await ask(
      { case: "fileContainingSymbol", value: "no.Such" },
      { case: "fileByFilename", value: "no.proto" },
      { case: "fileContainingExtension", value: { containingType: "no.Such", extensionNumber: 1 } },
      { case: "allExtensionNumbersOfType", value: "no.Such" },
      { case: "listServices", value: "" },
    );
    expect(answers.map((answer) => answer.case)).toEqual([...Array(4).fill("errorResponse"), "listServicesResponse"]);
    expect(answers[0]).toMatchObject({ value: { errorCode: 5, errorMessage: expect.stringContaining("no.Such") } });
  });

  it("needs a token, and goes through the chain", async () => {
    f.chained.length = 0;
    await ask({ case: "listServices", value: "" });
    expect(f.chained).toMatchObject([{ method: `${service.typeName}/ServerReflectionInfo` }]);
    const grpc = grpcClient(f.url);
    const stream = grpc.bidi(service.method.serverReflectionInfo, {});
    await expect(stream[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 16 });
    grpc.close();
  });
});

describe("buf curl", () => {
  const authorization = `authorization: ${bearer.authorization}`;
  const curl = (...args: string[]) =>
    run("node_modules/.bin/buf", [
      "curl",
      "--http2-prior-knowledge",
      "--reflect-header",
      authorization,
      "--header",
      authorization,
      ...args,
    ]);

  it.each(["grpc", "grpcweb", "connect"])("calls by reflection alone, over h2c, on %s", async (protocol) => {
    const { stdout } = await curl(
      "--protocol",
      protocol,
      "-d",
      '{"workflow_id":"restate:inv_1"}',
      `${f.url}/missioncontrol.v1.MissionControl/GetWorkflow`,
    );
    expect(JSON.parse(stdout)).toMatchObject({ workflow: { workflowId: "restate:inv_1" } });
  });

  it("lists the methods", async () => {
    const { stdout } = await curl("--list-methods", f.url);
    expect(stdout).toContain("missioncontrol.v1.MissionControl/PauseWorkflow");
  });
});

function nameOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes && fromBinary(FileDescriptorProtoSchema, bytes).name;
}

/** Imports first, as a descriptor set has them. */
function inOrder<F extends { name: string; dependency: string[] }>(files: F[]): F[] {
  const sorted = new Set<F>();
  const add = (file: F | undefined) => {
    if (file === undefined || sorted.has(file)) return;
    for (const name of file.dependency) add(files.find((other) => other.name === name));
    sorted.add(file);
  };
  files.forEach(add);
  return [...sorted];
}
