import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { FieldDescriptorProtoSchema, FieldOptionsSchema, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { ListAuditEntriesRequestSchema } from "../../../gen/missioncontrol/v1/audit_log_pb.ts";
import {
  ListWorkflowsRequestSchema,
  PauseWorkflowRequestSchema,
} from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import { HaltReceiptSchema, Workflow_Status, WorkflowSchema } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { canonicalName, parseQuery, setText } from "../../../src/http/transcoder/query.ts";

describe("a query", () => {
  it("is decoded, with plus as a space, repeated names in their order", () => {
    expect([...parseQuery("a=1&b=x%20y+z&a=2&c&d=e=f&")]).toEqual([
      ["a", ["1", "2"]],
      ["b", ["x y z"]],
      ["c", [""]],
      ["d", ["e=f"]],
    ]);
  });

  it("is refused where it is not well escaped", () => {
    expect(() => parseQuery("a=%zz")).toThrow("not well escaped");
  });
});

describe("a text for a field", () => {
  const set = (desc: Parameters<typeof setText>[1], name: string, values: string[], json: JsonObject = {}) => {
    setText(json, desc, name.split("."), values);
    return fromJson(desc, json);
  };

  it("is found by proto name and by JSON name", () => {
    for (const name of ["page_size", "pageSize"]) {
      expect(set(ListWorkflowsRequestSchema, name, ["7"])).toMatchObject({ pageSize: 7 });
    }
  });

  it("may be an enum's name or number, repeated", () => {
    expect(set(ListWorkflowsRequestSchema, "status", ["RUNNING", "4"])).toMatchObject({
      status: [Workflow_Status.RUNNING, Workflow_Status.PAUSED],
    });
    expect(() => set(ListWorkflowsRequestSchema, "status", ["NONSENSE"])).toThrow("NONSENSE");
  });

  it("may be a Timestamp or a Duration", () => {
    expect(set(ListWorkflowsRequestSchema, "created_after", ["2026-01-01T00:00:00.5Z"])).toMatchObject({
      createdAfter: { seconds: 1767225600n, nanos: 500_000_000 },
    });
    expect(set(PauseWorkflowRequestSchema, "expires_in", ["90.5s"])).toMatchObject({
      expiresIn: { seconds: 90n, nanos: 500_000_000 },
    });
    expect(() => set(ListWorkflowsRequestSchema, "created_after", ["yesterday"])).toThrow();
  });

  it("may be a boolean, true or false and nothing else", () => {
    expect(set(PauseWorkflowRequestSchema, "emergency", ["true"])).toMatchObject({ emergency: true });
    expect(set(PauseWorkflowRequestSchema, "emergency", ["false"])).toMatchObject({ emergency: false });
    for (const value of ["1", "yes", "TRUE", ""]) {
      expect(() => set(PauseWorkflowRequestSchema, "emergency", [value])).toThrow('"emergency" is true or false');
    }
  });

  it("may be a 64-bit number, whole", () => {
    expect(set(WorkflowSchema, "create_time", ["2026-01-01T00:00:00Z"])).toBeDefined();
    expect(set(FileDescriptorProtoSchema, "dependency", ["a", "b"])).toMatchObject({ dependency: ["a", "b"] });
    expect(() => set(ListWorkflowsRequestSchema, "page_size", ["many"])).toThrow();
    expect(() => set(ListWorkflowsRequestSchema, "page_size", ["3000000000"])).toThrow();
  });

  it("is found by dots within a message, of either spelling", () => {
    expect(set(WorkflowSchema, "halt_receipt.on_resume", ["KEPT"])).toMatchObject({ haltReceipt: { onResume: 1 } });
    const json: JsonObject = { haltReceipt: { onResume: "KEPT" } };
    expect(set(WorkflowSchema, "haltReceipt.request_time", ["2026-01-01T00:00:00Z"], json)).toMatchObject({
      haltReceipt: { onResume: 1, requestTime: { seconds: 1767225600n } },
    });
    expect(set(FieldDescriptorProtoSchema, "options.deprecated", ["true"])).toMatchObject({
      options: { deprecated: true },
    });
  });

  it("replaces what was there, under either name", () => {
    for (const json of [{ workflow_id: "old" }, { workflowId: "old" }]) {
      expect(set(PauseWorkflowRequestSchema, "workflow_id", ["new"], json)).toMatchObject({ workflowId: "new" });
    }
  });

  it.each([
    ["an unknown field", ListWorkflowsRequestSchema, "nope", "there is no field"],
    ["a field of Object.prototype", ListWorkflowsRequestSchema, "__proto__", "there is no field"],
    ["a field within a text", ListWorkflowsRequestSchema, "page_token.x", "no fields of its own"],
    ["a message as a whole", WorkflowSchema, "halt_receipt", "name its fields"],
    ["a list of messages", HaltReceiptSchema, "steps_in_flight", "name its fields"],
    ["a field within a list", HaltReceiptSchema, "steps_in_flight.name", "no fields of its own"],
    ["a map", WorkflowSchema, "labels", "is a map"],
  ])("is refused for %s", (_, desc, name, message) => {
    expect(() => set(desc, name, ["x"])).toThrow(message);
  });

  it("is refused where the field takes one value and there are two", () => {
    expect(() => set(ListAuditEntriesRequestSchema, "page_size", ["1", "2"])).toThrow("takes one value");
  });

  it("has one name, however it is spelled", () => {
    expect(canonicalName(WorkflowSchema, ["haltReceipt", "onResume"])).toBe("halt_receipt.on_resume");
    expect(canonicalName(FieldOptionsSchema, ["nope", "x"])).toBe("nope.x");
  });
});
