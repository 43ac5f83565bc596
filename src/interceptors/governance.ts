import {
  type DescField,
  type DescMethod,
  type DescService,
  getOption,
  hasOption,
  ScalarType,
} from "@bufbuild/protobuf";
import { Governance_Audit, governance } from "../../gen/missioncontrol/v1/governance_pb.ts";
import { permissions } from "../policy/roles.ts";
import { hasOneForm } from "../proof/request-digest.ts";

/** What a call of a method needs, and how it is recorded. */
export interface MethodGovernance {
  readonly permission: string;
  /** The K-OS action. */
  readonly action: string;
  readonly audit: "READ" | "CONTROL";
  /** The request field that names the workflow which the call is about. */
  readonly target: DescField | undefined;
}

/** Services whose protos are not ours to put an option into. */
const foreign: Readonly<Record<string, MethodGovernance>> = {
  "grpc.reflection.v1.ServerReflection": describing(),
  "grpc.reflection.v1alpha.ServerReflection": describing(),
};

const known = new WeakMap<DescMethod, MethodGovernance>();

/** What the method's option says. Throws an Error that names the method and what its option lacks. */
export function governanceOf(method: DescMethod): MethodGovernance {
  const found = known.get(method) ?? foreign[method.parent.typeName] ?? read(method);
  known.set(method, found);
  return found;
}

/** Throws an Error that names every method which lacks a complete option: such a server must not start. */
export function assertGoverned(services: readonly DescService[]): void {
  const faults = services
    .flatMap((service) => service.methods)
    .flatMap((method) => {
      try {
        governanceOf(method);
        return [];
      } catch (error) {
        return [error instanceof Error ? error.message : String(error)];
      }
    });
  if (faults.length > 0) throw new Error(`ungoverned methods:\n  ${faults.join("\n  ")}`);
}

function read(method: DescMethod): MethodGovernance {
  const fail = (what: string): never => {
    throw new Error(`${method.parent.typeName}/${method.name} ${what}`);
  };
  if (!hasOption(method, governance)) fail("has no (missioncontrol.v1.governance) option");
  const { permission, action, audit, targetField } = getOption(method, governance);
  if (!permissions.some((one) => one === permission)) fail(`names the permission "${permission}", which is not one`);
  if (action === "") fail("names no action");
  const target = method.input.fields.find(({ name }) => name === targetField);
  if (targetField !== "" && (target?.fieldKind !== "scalar" || target.scalar !== ScalarType.STRING)) {
    fail(`has the target_field "${targetField}", which is no text field of its request`);
  }
  switch (audit) {
    case Governance_Audit.READ:
      return { permission, action, audit: "READ", target };
    case Governance_Audit.CONTROL:
      if (method.methodKind !== "unary") fail("is CONTROL but streams: an intent needs its one request");
      if (!hasOneForm(method.input))
        fail("is CONTROL but has a map or a floating-point field: its digest is not defined");
      return { permission, action, audit: "CONTROL", target };
    default:
      return fail("names no audit class");
  }
}

function describing(): MethodGovernance {
  return { permission: "api.describe", action: "runtime.describe", audit: "READ", target: undefined };
}
