import { getOption } from "@bufbuild/protobuf";
import * as z from "zod";
import { Access } from "../../../gen/missioncontrol/v1/access_pb.ts";
import { AuditLog } from "../../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Brakes } from "../../../gen/missioncontrol/v1/brakes_pb.ts";
import { GateTokens } from "../../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { governance } from "../../../gen/missioncontrol/v1/governance_pb.ts";
import { MissionControl } from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Revocations } from "../../../gen/missioncontrol/v1/revocations_pb.ts";
import type { RemoteFiles } from "../../policy/remote/files.ts";
import { duration, isSafe, name, path, section, text } from "../section.ts";

const actions = [MissionControl, Brakes, AuditLog, Revocations, GateTokens, Access]
  .flatMap(({ methods }) => methods)
  .map((method) => getOption(method, governance).action);

/** What may go on where a remote cannot be asked. */
const rule = section({
  actions: z.array(z.enum(actions as [string, ...string[]])).min(1),
  roles: z.array(text()).min(1),
  /** False: also what is no emergency. */
  emergency_only: z.boolean().optional(),
}).transform(({ actions, roles, emergency_only }) => ({ actions, roles, emergencyOnly: emergency_only ?? true }));

/** A decision point to ask over the network. */
function remote(baseDir: string) {
  return section({
    name: name(),
    form: z.enum(["grpc", "authzen"]),
    url: z.url({ protocol: /^https?$/, error: "has to be a URL like https://kos.internal:8040" }),
    /** Why it is spoken to without TLS, where it is not on this machine. */
    plaintext_because: text("has to say in a sentence why it may do without TLS").optional(),
    /** For the whole of a decision. */
    deadline: duration("10ms", "10s").optional(),
    /** PEM files: whom its certificate has to be from; ours and its key; and a file with a bearer token, read for each request. */
    ca_file: path(baseDir).optional(),
    cert_file: path(baseDir).optional(),
    key_file: path(baseDir).optional(),
    token_file: path(baseDir).optional(),
    when_unreachable: z.array(rule).max(32).optional(),
  })
    .refine(({ url, plaintext_because }) => plaintext_because !== undefined || isSafe(url), {
      path: ["url"],
      error: "has to be https://, or plaintext_because has to say why it may do without",
    })
    .refine(({ cert_file, key_file }) => (cert_file === undefined) === (key_file === undefined), {
      path: ["cert_file"],
      error: "goes with key_file: name both or neither",
    })
    .transform(
      (given): RemoteFiles => ({
        name: given.name,
        form: given.form,
        url: new URL(given.url),
        deadlineMs: given.deadline,
        caFile: given.ca_file,
        certFile: given.cert_file,
        keyFile: given.key_file,
        tokenFile: given.token_file,
        whenUnreachable: given.when_unreachable,
      }),
    );
}

/** What decides beside roles: the embedded policies, remotes, or both, and then all have to permit. */
export function policy(baseDir: string) {
  return section({
    /** The folder with *.cedar and the schema; by default those that come with Mission Control. */
    dir: path(baseDir).optional(),
    /** False: only the remotes decide. */
    embedded: z.boolean().optional(),
    remotes: z
      .array(remote(baseDir))
      .max(8)
      .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, "have to have different names")
      .refine((all) => all.every(({ name }) => name !== "cedar"), "cannot be called cedar: that is the embedded one")
      .optional(),
  })
    .refine(({ embedded, remotes = [] }) => embedded !== false || remotes.length > 0, {
      path: ["embedded"],
      error: "is false, and there are no remotes: nobody would be allowed anything",
    })
    .refine(({ embedded, dir }) => embedded !== false || dir === undefined, {
      path: ["dir"],
      error: "is there, and embedded is false: remove one of them",
    });
}
