import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, getOption } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AuditLog } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { governance } from "../../gen/missioncontrol/v1/governance_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Workflow_Status, WorkflowSchema } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { askCedar, parsePolicies } from "../../src/policy/cedar.ts";
import { openPolicy } from "../../src/policy/open.ts";
import type { PolicyQuestion } from "../../src/policy/policy.ts";
import { readPolicies } from "../../src/policy/policy-files.ts";

const shipped = join(import.meta.dirname, "../../policies");
const log = pino({ level: "silent" });
const workflow = create(WorkflowSchema, {
  workflowId: "restate:inv_1",
  engine: "restate",
  type: "RefundAgent",
  name: "RefundAgent/run",
  status: Workflow_Status.RUNNING,
  owner: "payments",
  labels: { team: "payments", tier: "1" },
});
const pause: PolicyQuestion = {
  action: "runtime.pause",
  principal: {
    issuer: "i",
    subject: "alice",
    roles: ["sre"],
    tokenId: "t",
    issueTime: 0,
    expireTime: 0,
    authenticationMethod: "jwt",
  },
  workflow,
  reason: "it pays twice",
  emergency: false,
  time: new Date("2026-03-01T13:30:00Z"),
  protocol: "grpc",
  source: "127.0.0.1",
};
const as = (role: string) => ({ ...pause.principal, roles: [role] });

describe("the shipped policies", () => {
  it("decide on every action that a method names", async () => {
    const policy = await openPolicy({ dir: shipped }, log);
    for (const method of [...MissionControl.methods, ...AuditLog.methods]) {
      const { action, targetField } = getOption(method, governance);
      const about = targetField === "" ? undefined : workflow;
      const decision = await policy.check({ ...pause, action, workflow: about });
      expect(decision, action).toMatchObject({ allowed: true, failed: false });
      expect(decision.policyIds).toHaveLength(1);
      expect(decision.policySetHash).toMatch(/^[0-9a-f]{64}$/);
    }
    expect(await policy.check({ ...pause, action: "runtime.describe", workflow: undefined })).toMatchObject({
      allowed: true,
    });
  });

  it("forbid control without a reason, and say so", async () => {
    const policy = await openPolicy({ dir: shipped }, log);
    for (const reason of ["", "  ", "\n\t\u00a0"]) {
      expect(await policy.check({ ...pause, reason })).toMatchObject({
        allowed: false,
        failed: false,
        policyIds: ["control-needs-a-reason"],
        message: "say why: braking, releasing and erasing need a reason",
      });
    }
  });

  it("let only an sre_admin resume what is labelled so, while anybody who may pause can pause it", async () => {
    const policy = await openPolicy({ dir: shipped }, log);
    const reserved = create(WorkflowSchema, { ...workflow, labels: { resume: "sre_admin" } });
    const resume = { ...pause, action: "runtime.resume", workflow: reserved };
    expect(await policy.check({ ...pause, workflow: reserved })).toMatchObject({ allowed: true });
    expect(await policy.check(resume)).toMatchObject({ allowed: false, policyIds: ["resume-reserved-for-admins"] });
    expect(await policy.check({ ...resume, principal: as("sre_admin") })).toMatchObject({ allowed: true });
  });

  it("deny an action that no schema knows, as an error", async () => {
    const policy = await openPolicy({ dir: shipped }, log);
    for (const action of ["runtime.delete", "read", "control", ""]) {
      expect(await policy.check({ ...pause, action })).toMatchObject({ allowed: false, failed: true });
    }
  });

  it("deny control that is about no workflow, as an error", async () => {
    const policy = await openPolicy({ dir: shipped }, log);
    expect(await policy.check({ ...pause, workflow: undefined })).toMatchObject({ allowed: false, failed: true });
  });
});

describe("a folder of policies", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "mc-policies-"));
    await cp(shipped, dir, { recursive: true, filter: (file) => !file.endsWith(".test.yaml") });
  });
  afterEach(() => rm(dir, { recursive: true }));
  const write = (text: string) => writeFile(join(dir, "mine.cedar"), text);

  it("can speak about the workflow, the caller, the time and the emergency", async () => {
    await write(`@id("freeze") @message("no pausing of tier 1 on a Sunday afternoon by grpc from here")
      forbid (principal in Role::"sre", action == Action::"runtime.pause", resource)
      when { resource.engine == "restate" && resource.type == "RefundAgent" && resource.status == "RUNNING" &&
             resource.owner == "payments" && resource.hasTag("tier") && resource.getTag("tier") == "1" &&
             context.weekday == 7 && context.hour == 13 && context.now > 0 && context.protocol == "grpc" &&
             context.source == "127.0.0.1" && principal.subject == "alice" }
      unless { context.emergency };`);
    const policy = await openPolicy({ dir }, log);
    expect(await policy.check(pause)).toMatchObject({
      allowed: false,
      policyIds: ["freeze"],
      message: "no pausing of tier 1 on a Sunday afternoon by grpc from here",
    });
    expect(await policy.check({ ...pause, emergency: true })).toMatchObject({ allowed: true });
    expect(await policy.check({ ...pause, time: new Date("2026-03-02T13:30:00Z") })).toMatchObject({ allowed: true });
    const untagged = create(WorkflowSchema, { ...workflow, labels: {} });
    expect(await policy.check({ ...pause, workflow: untagged })).toMatchObject({ allowed: true });
  });

  it("denies where a forbid errors, though Cedar by itself would allow", async () => {
    await write(`@id("overflows")
      forbid (principal, action == Action::"runtime.pause", resource)
      when { context.now * 9223372036854775807 > 0 };`);
    const policy = await openPolicy({ dir }, log);
    expect(await policy.check(pause)).toMatchObject({ allowed: false, failed: true, policyIds: ["overflows"] });
    expect(await policy.check({ ...pause, action: "runtime.resume" })).toMatchObject({ allowed: true });
  });

  it("denies what no policy permits, and says so", async () => {
    await rm(join(dir, "control.cedar"));
    const policy = await openPolicy({ dir }, log);
    expect(await policy.check(pause)).toMatchObject({
      allowed: false,
      failed: false,
      message: "no policy permits runtime.pause here",
      policyIds: [],
      policySetHash: expect.any(String),
    });
  });

  it("has another hash as soon as one character of it changes", async () => {
    const hashes = new Set<string>();
    for (const text of ["// a", "// b"]) {
      await write(text);
      hashes.add((await (await openPolicy({ dir }, log)).check(pause)).policySetHash);
    }
    expect(hashes.size).toBe(2);
  });

  it.each<[string, string, RegExp]>([
    ["does not parse", "\n\npermit (principal, action, resorce);", /mine\.cedar:3: .*resorce/],
    ["has no @id", "permit (principal, action, resource);", /mine\.cedar: a policy has no @id/],
    [
      "has another's @id",
      '@id("read") permit (principal, action, resource);',
      /"read" is also in mine\.cedar|"read" is also in/,
    ],
    [
      "asks for what is not there",
      '@id("x") forbid (principal, action, resource) when { context.mood == "bad" };',
      /mine\.cedar: .*mood/,
    ],
    [
      "asks for a tag that may be missing",
      '@id("x") forbid (principal, action, resource is Workflow) when { resource.getTag("a") == "b" };',
      /mine\.cedar: .*tag/,
    ],
    [
      "names an action that is none",
      '@id("x") permit (principal, action == Action::"runtime.puase", resource);',
      /mine\.cedar: .*runtime\.puase/,
    ],
    ["is a template", '@id("x") permit (principal == ?principal, action, resource);', /mine\.cedar: templates/],
  ])("whose policy %s is refused at load, with file and fault", async (_, text, message) => {
    await write(text);
    await expect(openPolicy({ dir }, log)).rejects.toThrow(message);
  });

  it("is asked once for all that look the same to it, and for each where a policy names a workflow", async () => {
    const ids = ["restate:inv_1", "restate:inv_2", "restate:inv_3"];
    const workflows = ids.map((workflowId) => ({ ...workflow, workflowId }));
    const [, , third] = workflows;
    if (third) third.labels = { tier: "2" };
    const allowed = async () => {
      const questions = workflows.map((one) => ({ ...pause, workflow: one }));
      const policy = await openPolicy({ dir }, log);
      const decisions = await policy.checkAll(questions);
      const cedar = parsePolicies(await readPolicies(dir));
      for (const question of questions) askCedar(cedar, question);
      return [...decisions.map((decision) => decision.allowed), cedar.answers.size];
    };
    await write(`@id("tier-2") forbid (principal, action, resource is Workflow)
      when { resource.hasTag("tier") && resource.getTag("tier") == "2" };`);
    expect(await allowed()).toEqual([true, true, false, 2]);
    await write(`@id("that-one") forbid (principal, action, resource) when { resource == Workflow::"restate:inv_2" };`);
    expect(await allowed()).toEqual([true, false, true, 3]);
  });

  it("without policies, without a schema, or that is not there is refused at load", async () => {
    await rm(join(dir, "schema.cedarschema"));
    await expect(openPolicy({ dir }, log)).rejects.toThrow(/schema\.cedarschema/);
    const empty = await mkdtemp(join(tmpdir(), "mc-none-"));
    await expect(openPolicy({ dir: empty }, log)).rejects.toThrow(/no \.cedar file/);
    await rm(empty, { recursive: true });
    await expect(openPolicy({ dir: empty }, log)).rejects.toThrow(/ENOENT/);
  });
});
