/** What a caller can be allowed. Each RPC names one in its method option. */
export const permissions = [
  "workflows.read",
  "workflows.pause",
  "workflows.resume",
  "health.read",
  "access.read",
  "policy.explain",
  "brakes.read",
  "brakes.engage",
  "brakes.approve",
  "brakes.release",
  "brakes.release_any",
  "audit.read",
  "audit.rotate_key",
  "audit.erase",
  "api.describe",
  "gates.attach",
  "gates.manage",
  "tokens.revoke",
] as const;

export type Permission = (typeof permissions)[number];

/** A set of permissions, and on which workflows they are good. */
export interface Role {
  readonly permissions: readonly Permission[];
  /** Unset: on all there are. */
  readonly scope?: RoleScope | undefined;
}

/** Which workflows a role is good for: all that is set has to match, an empty list matches nothing. */
export interface RoleScope {
  /** Only on these engines, by configured name. */
  readonly engines?: readonly string[] | undefined;
  /** Only these types, whole names. */
  readonly types?: readonly string[] | undefined;
  /** Only those that carry all of these labels, each as "key=value". */
  readonly labels?: readonly string[] | undefined;
  /** Only those of these tenants; "own": of the tenant that the caller's token names, and of none where it names none. */
  readonly tenant?: "own" | readonly string[] | undefined;
}

/** Role → what it gives. Role names are those of a principal's `roles`. */
export type Roles = Readonly<Record<string, Role>>;

/** The label that names a workflow's tenant where the configuration names none. */
export const defaultTenantLabel = "tenant";

const viewer: readonly Permission[] = ["workflows.read", "brakes.read", "health.read", "access.read", "api.describe"];
const sre: readonly Permission[] = [
  ...viewer,
  "workflows.pause",
  "workflows.resume",
  "brakes.engage",
  "brakes.release",
];

/** The roles where the configuration names none. */
export const defaultRoles: Roles = {
  viewer: { permissions: viewer },
  auditor: { permissions: [...viewer, "audit.read", "policy.explain"] },
  sre: { permissions: sre },
  sre_admin: {
    permissions: [
      ...sre,
      "brakes.approve",
      "brakes.release_any",
      "audit.read",
      "audit.erase",
      "audit.rotate_key",
      "policy.explain",
      "tokens.revoke",
      "gates.manage",
    ],
  },
  /** For the gates in workers: it attaches, and can do nothing else. */
  gate: { permissions: ["gates.attach"] },
};

/**
 * What is wrong with the roles, each with the path of what it is about. None: they can be used.
 *
 * @param engines the configured names; undefined: they are not known yet.
 */
export function roleFaults(
  roles: Roles,
  engines?: readonly string[],
): { readonly path: readonly string[]; readonly message: string }[] {
  const faults: { path: string[]; message: string }[] = [];
  for (const [name, { permissions: given, scope }] of Object.entries(roles)) {
    for (const permission of given) {
      if (permissions.some((one) => one === permission)) continue;
      const message = `there is no permission "${permission}": there are ${permissions.join(", ")}`;
      faults.push({ path: [name, "permissions"], message });
    }
    for (const [field, values] of Object.entries(scope ?? {})) {
      if (!Array.isArray(values) || values.length > 0) continue;
      faults.push({ path: [name, "scope", field], message: "is empty, and so would the role be: leave it out" });
    }
    for (const engine of scope?.engines ?? []) {
      if (engines?.includes(engine) ?? true) continue;
      const message = `there is no engine "${engine}": there are ${engines?.join(", ")}`;
      faults.push({ path: [name, "scope", "engines"], message });
    }
    for (const label of scope?.labels ?? []) {
      if (label.indexOf("=") > 0) continue;
      faults.push({ path: [name, "scope", "labels"], message: `"${label}" is no label: write "key=value"` });
    }
    const keys = (scope?.labels ?? []).map((label) => label.slice(0, label.indexOf("=")));
    if (new Set(keys).size !== keys.length) {
      const message = "asks for two values of one label, which no workflow has: make a role for each";
      faults.push({ path: [name, "scope", "labels"], message });
    }
  }
  return faults;
}

/** True where one of the roles gives the permission, on whatever workflows. */
export function permits(roles: Roles, held: readonly string[], permission: string): boolean {
  return held.some(
    (role) => Object.hasOwn(roles, role) && roles[role]?.permissions.some((given) => given === permission),
  );
}

/** The roles that give the permission. */
export function rolesWith(roles: Roles, permission: string): string[] {
  return Object.keys(roles).filter((role) => permits(roles, [role], permission));
}
