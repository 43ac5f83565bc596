/** The most workflows that a role may brake without a second person; a role that is not named here may not brake alone. */
export type BlastRadius = Readonly<Record<string, number>>;

/** The defaults where the configuration names none. */
export const defaultBlastRadius: BlastRadius = { sre: 50, sre_admin: Number.POSITIVE_INFINITY };

/** The widest radius of the caller's roles. */
export function radiusOf(radius: BlastRadius, roles: readonly string[]): number {
  return roles.reduce((most, role) => Math.max(most, Object.hasOwn(radius, role) ? (radius[role] ?? 0) : 0), 0);
}
