import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { afterEach, expect, it } from "vitest";
import { BadRequestSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { ListWorkflowsRequestSchema, MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { failure, startServer, type TestServer } from "./server.ts";

let server: TestServer;
afterEach(() => server.close());

it("a wrong request is told all that is wrong, by field", async () => {
  server = await startServer();
  const client = createClient(MissionControl, server.transport());
  const error = await failure(
    client.pauseWorkflow({ reason: "x".repeat(2000), requestId: "not-a-uuid" }, await server.as("sre")),
  );
  expect(error.reason).toBe("INVALID_ARGUMENT");
  const [bad] = error.findDetails(BadRequestSchema);
  expect(bad?.fieldViolations.map(({ field }) => field).sort()).toEqual(["reason", "request_id", "workflow_id"]);
  expect(error.rawMessage).toContain("workflow_id: ");
  expect(error.rawMessage).not.toContain("xxxx");
});

it("a request with endless faults is told the first of them", async () => {
  server = await startServer();
  const client = createClient(MissionControl, server.transport());
  const request = create(ListWorkflowsRequestSchema, { label: Array.from({ length: 16 }, () => "no-equals-sign") });
  request.status = Array.from({ length: 17 }, () => 0);
  const error = await failure(client.listWorkflows(request, await server.as("viewer")));
  expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations).toHaveLength(16);
});
