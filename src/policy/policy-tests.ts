import { readdir } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import * as z from "zod";
import {
  type Workflow,
  type Workflow_Status,
  Workflow_StatusSchema,
  WorkflowSchema,
} from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { askCedar, type CedarPolicies, forgetPolicies, parsePolicies, unlimited } from "./cedar.ts";
import type { Freeze } from "./freezes.ts";
import type { PolicyQuestion } from "./policy.ts";
import { type PolicySet, readPolicies, readPolicyFile } from "./policy-files.ts";
import { readYaml } from "./yaml.ts";

/** The files in a folder of policies that say what its policies have to decide. */
export const testFiles = ".test.yaml";
const limits = { files: 256, tests: 4096 } as const;

const text = z.string().max(4096);
const statuses = Object.fromEntries(Workflow_StatusSchema.values.map(({ name, number }) => [name, number]));

const caller = z.strictObject({
  issuer: text.default("https://issuer.example"),
  subject: text.default("somebody"),
  roles: z.array(text).default([]),
  machine: z.boolean().default(false),
  tenant: text.optional(),
  authentication: z
    .strictObject({
      method: z.enum(["jwt", "jwt+mtls", "gate-token"]).default("jwt"),
      methods: z.array(text).optional(),
      level: text.optional(),
      /** Seconds since the caller proved who they are. */
      age: z.int().min(0).optional(),
    })
    .default({ method: "jwt" }),
});

const workflow = z.strictObject({
  id: text.default("restate:inv_1test"),
  engine: text.default("restate"),
  type: text.default("Agent"),
  name: text.default("Agent/run"),
  status: z.enum(Object.keys(statuses)).default("RUNNING"),
  owner: text.default(""),
  labels: z.record(text, text).default({}),
});

const brake = z.strictObject({
  id: text.default(""),
  matched: z.int().min(0).default(1),
  radius: z.union([z.int().min(0), z.literal("unlimited")]).default("unlimited"),
  everything: z.boolean().default(false),
  emergency: z.boolean().default(false),
  own: z.boolean().default(false),
  staged: z.boolean().default(false),
});

const test = z.strictObject({
  name: z.string().min(1).max(256),
  action: text,
  by: caller.default(() => caller.parse({})),
  /** What the call is about; left out: Mission Control as a whole. */
  workflow: workflow.optional(),
  brake: brake.optional(),
  reason: text.default(""),
  emergency: z.boolean().default(false),
  ticket: text.default(""),
  /** When the call comes; left out: on a Wednesday at noon (UTC). */
  time: z.iso
    .datetime({ offset: true, error: "has to be a time like 2026-12-24T00:00:00Z" })
    .default("2026-03-04T12:00:00Z"),
  /** The windows that this moment is in, whatever freezes.yaml says; left out: what freezes.yaml says. */
  freezes: z.array(text).optional(),
  protocol: z.enum(["grpc", "grpc-web", "connect", "rest"]).default("grpc"),
  source: text.default("192.0.2.1"),
  client: text.default(""),
  expect: z.enum(["allow", "deny", "error"]),
  /** Exactly these decide, in any order; left out: whichever. */
  policies: z.array(text).optional(),
});

const file = z.strictObject({ tests: z.array(test).min(1).max(limits.tests) });

/** One case: what is asked, and what has to be decided. */
type PolicyTest = z.output<typeof test>;

/** What came of one test of a folder's policies. */
export interface TestResult {
  readonly file: string;
  readonly name: string;
  /** What it decided instead; "" where it decided as expected. */
  readonly fault: string;
}

/**
 * Reads the policies of a folder and runs their tests, which lie next to them in files named *.test.yaml. Throws an Error that
 * names all faults of files which cannot be read as what they are.
 */
export async function testPolicies(dir: string): Promise<{ set: PolicySet; results: readonly TestResult[] }> {
  const set = await readPolicies(dir);
  const tests = await readTests(dir);
  const policies = parsePolicies(set);
  try {
    return { set, results: tests.map(({ file, test }) => ({ file, name: test.name, fault: faultOf(policies, test) })) };
  } finally {
    forgetPolicies(policies);
  }
}

/** Reads the policies of a folder for use. Throws an Error that names what is wrong with them, be it a test that fails. */
export async function loadPolicies(dir: string): Promise<{ set: PolicySet; tests: number }> {
  const { set, results } = await testPolicies(dir);
  const failed = results
    .filter(({ fault }) => fault !== "")
    .map(({ file, name, fault }) => `${file}: ${name}: ${fault}`);
  if (failed.length > 0) throw new Error(`policies in ${dir} fail their tests:\n  ${failed.join("\n  ")}`);
  return { set, tests: results.length };
}

async function readTests(dir: string): Promise<{ file: string; test: PolicyTest }[]> {
  const files = (await readdir(dir)).filter((name) => name.endsWith(testFiles)).sort();
  if (files.length > limits.files)
    throw new Error(`policies: there are more than ${limits.files} files of tests in ${dir}`);
  const faults: string[] = [];
  const tests: { file: string; test: PolicyTest }[] = [];
  for (const name of files) {
    const read = readYaml(file, await readPolicyFile(dir, name), name, faults);
    for (const one of read?.tests ?? []) tests.push({ file: name, test: one });
  }
  if (faults.length > 0) throw new Error(`policy tests in ${dir} cannot be read:\n  ${faults.join("\n  ")}`);
  return tests;
}

function faultOf(policies: CedarPolicies, test: PolicyTest): string {
  const { set } = policies;
  const freezes = test.freezes?.map(always) ?? set.freezes;
  let said: PolicyTest["expect"];
  let ids: readonly string[];
  let why: string;
  try {
    const { allowed, failure, policyIds } = askCedar({ ...policies, set: { ...set, freezes } }, questionOf(test));
    said = allowed ? "allow" : failure === "" ? "deny" : "error";
    ids = policyIds;
    why = failure;
  } catch (error) {
    said = "error";
    ids = [];
    why = error instanceof Error ? error.message : String(error);
  }
  const by = `by ${ids.length === 0 ? "no policy" : ids.join(", ")}${why === "" ? "" : ` (${why})`}`;
  if (said !== test.expect) return `expected ${test.expect}, and it is ${said}, ${by}`;
  const wanted = test.policies;
  const same = wanted === undefined || [...wanted].sort().join("\n") === [...ids].sort().join("\n");
  return same ? "" : `${said} as expected, but ${by} and not by ${wanted.join(", ") || "no policy"}`;
}

function questionOf(test: PolicyTest): PolicyQuestion {
  const { action, by, reason, emergency, ticket, protocol, source, client } = test;
  const { issuer, subject, roles, machine, tenant, authentication } = by;
  const time = new Date(test.time);
  return {
    action,
    principal: {
      issuer,
      subject,
      roles,
      machine,
      ...(tenant !== undefined && { tenant }),
      tokenId: "",
      issueTime: 0,
      expireTime: 0,
      authenticationMethod: authentication.method,
      ...(authentication.methods && { authenticationMethods: authentication.methods }),
      ...(authentication.level !== undefined && { authenticationContext: authentication.level }),
      ...(authentication.age !== undefined && { authenticationTime: time.getTime() - authentication.age * 1_000 }),
    },
    workflow: test.workflow && workflowOf(test.workflow),
    ...(test.brake && { brake: brakeOf(test.brake) }),
    reason,
    emergency,
    ticket,
    time,
    protocol,
    source,
    client,
    hypothetical: true,
  };
}

function workflowOf({ id, status, ...given }: z.output<typeof workflow>): Workflow {
  return create(WorkflowSchema, { workflowId: id, ...given, status: statuses[status] as Workflow_Status });
}

function brakeOf({ id, radius, ...given }: z.output<typeof brake>) {
  return { brakeId: id, radius: radius === "unlimited" ? unlimited : radius, ...given };
}

function always(name: string): Freeze {
  return { kind: "once", name, from: Number.NEGATIVE_INFINITY, until: Number.POSITIVE_INFINITY };
}
