import type * as z from "zod";
import { defaultRoles } from "../policy/roles.ts";
import { path, section, text } from "./section.ts";
import { brakes } from "./sections/brakes.ts";
import { cors } from "./sections/cors.ts";
import { drill } from "./sections/drill.ts";
import { engines } from "./sections/engines.ts";
import { identity } from "./sections/identity.ts";
import { ledger } from "./sections/ledger.ts";
import { listen } from "./sections/listen.ts";
import { logLevel } from "./sections/log-level.ts";
import { policy } from "./sections/policy.ts";
import { roles } from "./sections/roles.ts";
import { signedRequests } from "./sections/signed-requests.ts";
import { tls } from "./sections/tls.ts";

/**
 * The configuration file, as a whole: everything in it is optional, and nothing else may be there. What production cannot do
 * without is for production.ts to say.
 *
 * @param baseDir where relative paths start: the file's folder.
 */
export function documentSchema(baseDir: string) {
  return section({
    listen: listen.optional(),
    tls: tls(baseDir).optional(),
    /** Why the port does without TLS: a sentence, kept in the log and the ledger. */
    plaintext_because: text("has to say in a sentence why the port may do without TLS").optional(),
    /** Where everything that lasts is kept. */
    data_dir: path(baseDir).optional(),
    log_level: logLevel.optional(),
    engines: engines.optional(),
    brakes: brakes.optional(),
    drill: drill.optional(),
    cors: cors.optional(),
    identity: identity(baseDir).optional(),
    ledger: ledger(baseDir).optional(),
    roles: roles.optional(),
    /** The label that names a workflow's tenant. */
    tenant_label: text().optional(),
    signed_requests: signedRequests.optional(),
    policy: policy(baseDir).optional(),
  }).superRefine((file, context) => {
    const known = file.roles ?? defaultRoles;
    const refuse = (role: string, ...path: (string | number)[]) => {
      if (Object.hasOwn(known, role)) return;
      const message = `is no role: use one of ${Object.keys(known).join(", ")}, or define it in roles`;
      context.addIssue({ code: "custom", path, message });
    };
    for (const role of Object.keys(file.brakes?.blastRadius ?? {})) refuse(role, "brakes", "blast_radius", role);
    for (const [index, { whenUnreachable = [] }] of (file.policy?.remotes ?? []).entries()) {
      for (const [at, { roles }] of whenUnreachable.entries()) {
        for (const role of roles) refuse(role, "policy", "remotes", index, "when_unreachable", at, "roles");
      }
    }
    for (const [index, { claims }] of (file.identity?.issuers ?? []).entries()) {
      for (const [theirs, ours] of Object.entries(claims?.roleNames ?? {})) {
        refuse(ours, "identity", "issuers", index, "role_names", theirs);
      }
    }
  });
}

/** What a configuration file says: paths absolute, times in ms. */
export type ConfigDocument = z.output<ReturnType<typeof documentSchema>>;
