import { join } from "node:path";
import { ingressCanary } from "./brakes/drill/ingress-canary.ts";
import type { ConfigDocument } from "./config/document.ts";
import { openPublishers } from "./ledger/publishers.ts";
import { readRemotes } from "./policy/remote/files.ts";
import { packageRoot } from "./process/package.ts";
import type { ServerOptions } from "./server.ts";

/** What a configuration file says of the server, alike in dev mode and in production. */
export function configuredOptions(file: ConfigDocument) {
  return {
    revocationFile: file.identity?.revocation_file,
    roles: file.roles,
    corsOrigins: file.cors?.origins,
    tenantLabel: file.tenant_label,
    operatorKeys: file.signed_requests,
    ledgerFallbackFile: file.ledger?.fallback_file,
    ledgerRetentionMs: file.ledger?.retention,
    checkpointsDirectory: file.ledger?.checkpoints_dir,
    checkpointPublishers: openPublishers(
      { witnesses: file.ledger?.witnesses, toStdout: file.ledger?.checkpoints_to_stdout },
      process.stdout,
    ),
    ledgerStreams: file.ledger?.streams,
    ...file.brakes,
    canaries: (file.drill?.canaries ?? []).map(ingressCanary),
  } satisfies Partial<ServerOptions>;
}

/** What decides there. Rejects where a file that it names cannot be read. */
export async function configuredPolicy({
  policy,
}: ConfigDocument): Promise<Pick<ServerOptions, "policiesDir" | "policyRemotes">> {
  return {
    ...(policy?.embedded !== false && { policiesDir: policy?.dir ?? join(packageRoot(), "policies") }),
    policyRemotes: await readRemotes(policy?.remotes ?? []),
  };
}
