/** What a caller can be allowed. Each RPC names one in its method option. */
export const permissions = [
  "workflows.read",
  "workflows.pause",
  "workflows.resume",
  "health.read",
  "brakes.read",
  "brakes.engage",
  "brakes.approve",
  "brakes.release",
  "brakes.release_any",
  "audit.read",
  "audit.rotate_key",
  "api.describe",
  "gates.attach",
] as const;

export type Permission = (typeof permissions)[number];

/** Role → its permissions. Role names are those of a principal's `roles`. */
export type Roles = Readonly<Record<string, readonly Permission[]>>;

const viewer: readonly Permission[] = ["workflows.read", "brakes.read", "health.read", "api.describe"];
const sre: readonly Permission[] = [
  ...viewer,
  "workflows.pause",
  "workflows.resume",
  "brakes.engage",
  "brakes.release",
];

/** The roles where the configuration names none. */
export const defaultRoles: Roles = {
  viewer,
  auditor: [...viewer, "audit.read"],
  sre,
  sre_admin: [...sre, "brakes.approve", "brakes.release_any", "audit.read", "audit.rotate_key"],
  /** For the gates in workers: it attaches, and can do nothing else. */
  gate: ["gates.attach"],
};

/** True where one of the caller's roles gives the permission. */
export function permits(roles: Roles, held: readonly string[], permission: string): boolean {
  return held.some((role) => Object.hasOwn(roles, role) && roles[role]?.some((given) => given === permission));
}

/** The roles that give the permission. */
export function rolesWith(roles: Roles, permission: string): string[] {
  return Object.keys(roles).filter((role) => permits(roles, [role], permission));
}
