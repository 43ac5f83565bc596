import {
  clearExtension,
  clone,
  create,
  createFileRegistry,
  type DescService,
  type MessageInitShape,
  setExtension,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { AuditLog } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Governance_Audit, GovernanceSchema, governance } from "../../gen/missioncontrol/v1/governance_pb.ts";
import {
  file_missioncontrol_v1_mission_control,
  MissionControl,
} from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { assertGoverned, governanceOf } from "../../src/interceptors/governance.ts";

const file = file_missioncontrol_v1_mission_control;

/** MissionControl with another option on one of its methods. */
function altered(method: string, option: MessageInitShape<typeof GovernanceSchema> | undefined): DescService {
  const proto = clone(FileDescriptorProtoSchema, file.proto);
  const options = proto.service[0]?.method.find(({ name }) => name === method)?.options;
  if (options === undefined) throw new Error(`no method ${method}`);
  if (option === undefined) clearExtension(options, governance);
  else setExtension(options, governance, create(GovernanceSchema, option));
  const dependencies = (name: string) => file.dependencies.find(({ proto }) => proto.name === name);
  const service = createFileRegistry(proto, dependencies).getService(MissionControl.typeName);
  if (service === undefined) throw new Error("no service");
  return service;
}
const good = {
  permission: "workflows.pause",
  action: "runtime.pause",
  audit: Governance_Audit.CONTROL,
  targetField: "workflow_id",
};

it("every RPC of this API has its option, and reflection is governed", () => {
  expect(() => assertGoverned([MissionControl, AuditLog, ServerReflection, ServerReflectionAlpha])).not.toThrow();
  expect(governanceOf(MissionControl.method.pauseWorkflow)).toMatchObject({
    permission: "workflows.pause",
    action: "runtime.pause",
    audit: "CONTROL",
    target: { name: "workflow_id" },
  });
  expect(governanceOf(ServerReflectionAlpha.method.serverReflectionInfo)).toMatchObject({
    permission: "api.describe",
    action: "runtime.describe",
    audit: "READ",
  });
});

describe("a server does not start with a method", () => {
  it("of a service that nobody governs", () => {
    expect(() => assertGoverned([MissionControl, Health])).toThrow("grpc.health.v1.Health/Check has no");
  });

  it.each<[string, string, MessageInitShape<typeof GovernanceSchema> | undefined, RegExp]>([
    ["without an option", "PauseWorkflow", undefined, /MissionControl\/PauseWorkflow has no .*option/],
    ["without a permission", "PauseWorkflow", { ...good, permission: "" }, /permission ""/],
    ["with a misspelt permission", "PauseWorkflow", { ...good, permission: "workflow.pause" }, /workflow\.pause/],
    ["without an action", "PauseWorkflow", { ...good, action: "" }, /no action/],
    ["without an audit class", "PauseWorkflow", { ...good, audit: 0 }, /no audit class/],
    ["with an audit class of the future", "PauseWorkflow", { ...good, audit: 9 as never }, /no audit class/],
    [
      "with a target that is not there",
      "PauseWorkflow",
      { ...good, targetField: "workflow" },
      /target_field "workflow"/,
    ],
    [
      "with a target that is no text",
      "PauseWorkflow",
      { ...good, targetField: "emergency" },
      /target_field "emergency"/,
    ],
    ["of control that streams", "WatchWorkflows", { ...good, targetField: "" }, /CONTROL but streams/],
  ])("%s, and says which", (_, method, option, message) => {
    expect(() => assertGoverned([altered(method, option)])).toThrow(message);
  });

  it("but does with the same file unaltered", () => {
    expect(() => assertGoverned([altered("PauseWorkflow", good)])).not.toThrow();
  });
});
