/** What policy said about a call. Only `allowed: true` is a yes. */
export interface Decision {
  readonly allowed: boolean;
  /** True where policy could not be asked or a policy could not be evaluated: then `allowed` is false. */
  readonly failed: boolean;
  /** Why not, for the caller; "" where allowed. */
  readonly message: string;
  /** The policies that decided. */
  readonly policyIds: readonly string[];
  /** The SHA-256 of the policy set, in hex. */
  readonly policySetHash: string;
}
