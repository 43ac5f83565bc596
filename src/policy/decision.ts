/** How one decision point answered. Only "allowed" is a yes. */
export type Outcome =
  | "allowed"
  | "denied"
  /** It, or a policy of it, could not be made sense of: that is a no. */
  | "failed"
  /** It could not be asked: that is a no. */
  | "unreachable"
  /** It could not be asked, and the configuration lets this call go on without it. */
  | "bypassed";

/** What one decision point said. */
export interface PointDecision {
  /** The decision point: "cedar" for the embedded policies, else the configured name of the remote. */
  readonly point: string;
  readonly outcome: Outcome;
  /** Why not; for "bypassed" why it went on; where it said something with its yes, that. */
  readonly message: string;
  readonly policyIds: readonly string[];
  /** The SHA-256 of the embedded policy set, in hex; "" for a remote. */
  readonly policySetHash: string;
  /** True where an earlier answer was good for this question still. */
  readonly cached: boolean;
  readonly durationMs: number;
}

/** What policy said about a call. Only `allowed: true` with `failed: false` is a yes. */
export interface Decision {
  readonly allowed: boolean;
  /** True where policy could not be asked or a policy could not be evaluated, and none said a clean no: `allowed` is false. */
  readonly failed: boolean;
  /** True where `failed` is because a decision point could not be asked, and for no other reason. */
  readonly unreachable: boolean;
  /** Why not, for the caller; "" where allowed, unless it was allowed without a decision point that could not be asked. */
  readonly message: string;
  /** The policies that decided, of all decision points. */
  readonly policyIds: readonly string[];
  /** The SHA-256 of the embedded policy set, in hex; "" without one. */
  readonly policySetHash: string;
  /** Names of the decision points that it was allowed without. */
  readonly bypassed: readonly string[];
  /** What each decision point said. */
  readonly points: readonly PointDecision[];
}

/**
 * All of them have to permit. What each said against it is told, and every policy that is named; a clean no outweighs a
 * failure, and no decision points at all are a failure.
 */
export function allOf(points: readonly PointDecision[]): Decision {
  const against = points.filter(({ outcome }) => outcome !== "allowed" && outcome !== "bypassed");
  const bypassed = points.filter(({ outcome }) => outcome === "bypassed");
  const allowed = points.length > 0 && against.length === 0;
  const failed = !allowed && against.every(({ outcome }) => outcome !== "denied");
  // Of what permits, the policies of a denial are not: they did not decide.
  const deciding = allowed ? points : against;
  return {
    allowed,
    failed,
    unreachable: failed && points.length > 0 && against.every(({ outcome }) => outcome === "unreachable"),
    message: points.length === 0 ? "there is no policy to ask" : messageOf(allowed ? bypassed : against),
    policyIds: deciding.flatMap(({ policyIds }) => policyIds),
    policySetHash: points.find(({ policySetHash }) => policySetHash !== "")?.policySetHash ?? "",
    bypassed: allowed ? bypassed.map(({ point }) => point) : [],
    points,
  };
}

/** Each with its decision point's name where several speak. */
function messageOf(points: readonly PointDecision[]): string {
  const several = points.length > 1;
  return points.map(({ point, message }) => (several ? `${point}: ${message}` : message)).join("; ");
}
