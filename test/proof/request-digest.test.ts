import { create, fromBinary, fromJson, toBinary } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import {
  PauseWorkflowRequestSchema,
  ResumeWorkflowRequestSchema,
} from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { WorkflowSchema } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { hasOneForm, requestDigest } from "../../src/proof/request-digest.ts";

const request = create(PauseWorkflowRequestSchema, { workflowId: "restate:inv_1", reason: "it pays twice" });
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

it("the same request has the same digest by JSON, by reordered bytes, and with fields that the server does not know", () => {
  const digest = hex(requestDigest(PauseWorkflowRequestSchema, request));
  const json = fromJson(PauseWorkflowRequestSchema, {
    reason: "it pays twice",
    workflow_id: "restate:inv_1",
    emergency: false,
  });
  expect(hex(requestDigest(PauseWorkflowRequestSchema, json))).toBe(digest);
  const [id, reason] = [{ workflowId: "restate:inv_1" }, { reason: "it pays twice" }].map((init) =>
    toBinary(PauseWorkflowRequestSchema, create(PauseWorkflowRequestSchema, init)),
  );
  const unknown = Uint8Array.of(0xc2, 0x3e, 0x01, 0x78);
  const bytes = Buffer.concat([reason ?? unknown, unknown, id ?? unknown]);
  expect(hex(requestDigest(PauseWorkflowRequestSchema, fromBinary(PauseWorkflowRequestSchema, bytes)))).toBe(digest);
});

it("other content, or the same content to another RPC, has another digest", () => {
  const digest = hex(requestDigest(PauseWorkflowRequestSchema, request));
  expect(hex(requestDigest(PauseWorkflowRequestSchema, { ...request, emergency: true }))).not.toBe(digest);
  const resume = create(ResumeWorkflowRequestSchema, { workflowId: "restate:inv_1", reason: "it pays twice" });
  expect(hex(requestDigest(ResumeWorkflowRequestSchema, resume))).not.toBe(digest);
});

it("a message with a map in it has no one form", () => {
  expect(hasOneForm(PauseWorkflowRequestSchema)).toBe(true);
  expect(hasOneForm(WorkflowSchema)).toBe(false);
});
