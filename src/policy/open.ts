import type { Logger } from "../log.ts";
import { EmbeddedPoint } from "./embedded.ts";
import { type Policy, policyOf } from "./policy.ts";
import { loadPolicies } from "./policy-tests.ts";
import { type RemoteConfig, RemotePoint } from "./remote.ts";

/** Who decides. Where there are several, all have to permit. */
export interface PolicyOptions {
  /** The folder with *.cedar and the schema; without one, only remotes decide. */
  readonly dir?: string | undefined;
  readonly remotes?: readonly RemoteConfig[] | undefined;
}

/** The policy decision points of a server, and what is to be told of each. */
export interface OpenPolicy extends Policy {
  readonly embedded: EmbeddedPoint | undefined;
  readonly remotes: readonly RemotePoint[];
  /** Drops the connections to remotes. */
  close(): void;
}

/**
 * Opens what decides. Throws an Error that names file and fault where the folder's policies cannot be used or fail their tests,
 * and where there is nothing to decide: nobody would be allowed anything. Whether remotes answer is not known before they are asked.
 */
export async function openPolicy({ dir, remotes = [] }: PolicyOptions, log: Logger): Promise<OpenPolicy> {
  if (dir === undefined && remotes.length === 0) {
    throw new Error(
      "policy: there is neither a folder of policies nor a remote to ask: nobody would be allowed anything",
    );
  }
  const embedded = dir === undefined ? undefined : new EmbeddedPoint((await loadPolicies(dir)).set, log);
  const points = remotes.map((remote) => new RemotePoint(remote, log));
  return {
    ...policyOf([...(embedded ? [embedded] : []), ...points]),
    embedded,
    remotes: points,
    close() {
      for (const point of points) point.close();
    },
  };
}
