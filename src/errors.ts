import { Code } from "@connectrpc/connect";

/** The stable reasons that answers carry in google.rpc.ErrorInfo, and the gRPC code of each. */
export const reasons = {
  // identity
  TOKEN_MISSING: Code.Unauthenticated,
  TOKEN_MALFORMED: Code.Unauthenticated,
  TOKEN_INVALID: Code.Unauthenticated,
  TOKEN_EXPIRED: Code.Unauthenticated,
  TOKEN_REVOKED: Code.Unauthenticated,
  // authorization
  ROLE_DENIED: Code.PermissionDenied,
  SIGNATURE_REQUIRED: Code.PermissionDenied,
  SIGNATURE_INVALID: Code.PermissionDenied,
  POLICY_DENIED: Code.PermissionDenied,
  POLICY_ERROR: Code.PermissionDenied,
  POLICY_UNAVAILABLE: Code.PermissionDenied,
  // requests
  INVALID_ARGUMENT: Code.InvalidArgument,
  INVALID_PAGE_TOKEN: Code.InvalidArgument,
  UNKNOWN_ENGINE: Code.InvalidArgument,
  UNKNOWN_METHOD: Code.Unimplemented,
  UNKNOWN_PATH: Code.NotFound,
  METHOD_NOT_ALLOWED: Code.Unimplemented,
  MESSAGE_TOO_LARGE: Code.ResourceExhausted,
  UNSUPPORTED_MEDIA_TYPE: Code.InvalidArgument,
  UNSUPPORTED_ENCODING: Code.Unimplemented,
  REQUEST_TIMEOUT: Code.DeadlineExceeded,
  REQUEST_ID_REUSED: Code.AlreadyExists,
  ETAG_MISMATCH: Code.Aborted,
  SELECTOR_EMPTY: Code.InvalidArgument,
  SELECTOR_INVALID: Code.InvalidArgument,
  // workflows and brakes
  WORKFLOW_NOT_FOUND: Code.NotFound,
  WORKFLOW_AMBIGUOUS: Code.InvalidArgument,
  WORKFLOW_ENDED: Code.FailedPrecondition,
  WORKFLOW_NOT_HELD: Code.FailedPrecondition,
  HELD_IN_ENGINE: Code.FailedPrecondition,
  HELD_BY_OTHER_BRAKES: Code.FailedPrecondition,
  BRAKE_NOT_FOUND: Code.NotFound,
  BRAKE_NOT_ENGAGED: Code.FailedPrecondition,
  BRAKE_NOT_AWAITING: Code.FailedPrecondition,
  APPROVER_IS_REQUESTER: Code.PermissionDenied,
  SET_CHANGED: Code.FailedPrecondition,
  EXPIRY_TOO_LONG: Code.InvalidArgument,
  NO_CANARY: Code.FailedPrecondition,
  DRILL_RUNNING: Code.FailedPrecondition,
  CANARY_HELD: Code.FailedPrecondition,
  // the ledger
  ENTRY_NOT_FOUND: Code.NotFound,
  ENTRIES_PRUNED: Code.OutOfRange,
  CHECKPOINT_AHEAD: Code.OutOfRange,
  // what we depend on
  ENGINE_UNAVAILABLE: Code.Unavailable,
  ISSUER_UNAVAILABLE: Code.Unavailable,
  ENGINE_BUSY: Code.ResourceExhausted,
  LEDGER_UNAVAILABLE: Code.Unavailable,
  LEDGER_TAMPERED: Code.DataLoss,
  SLOW_CONSUMER: Code.ResourceExhausted,
  TOO_MANY_REVOCATIONS: Code.ResourceExhausted,
  TOO_MANY_WATCHERS: Code.ResourceExhausted,
  TOO_MANY_GATES: Code.ResourceExhausted,
  GATE_REPLACED: Code.Aborted,
  GATE_SILENT: Code.DeadlineExceeded,
  TOO_MANY_WORKFLOWS: Code.ResourceExhausted,
  TOO_MANY_HELD_STEPS: Code.ResourceExhausted,
  GATE_TOKEN_EXISTS: Code.AlreadyExists,
  GATE_TOKEN_NOT_FOUND: Code.NotFound,
  GATE_TOKEN_SCOPE: Code.PermissionDenied,
  TOO_MANY_GATE_TOKENS: Code.ResourceExhausted,
  SHUTTING_DOWN: Code.Unavailable,
  INTERNAL: Code.Internal,
} as const satisfies Record<string, Code>;

/** A stable reason, one per kind of failure. */
export type Reason = keyof typeof reasons;

/**
 * A failure that the caller is told about: what was wrong and what to do, in `message`; the machine-readable side in
 * `reason` and `metadata`. Everything else that is thrown reaches the caller as INTERNAL, and the log in full.
 */
export class MissionControlError extends Error {
  override readonly name = "MissionControlError";
  readonly reason: Reason;
  readonly metadata: Readonly<Record<string, string>>;
  /** Fields of the request that were wrong, by their proto path. */
  readonly violations: readonly { field: string; description: string }[];
  /** What the ledger is told beside the message, where the caller must not learn it; "" where there is nothing. */
  readonly unsaid: string;

  constructor(
    reason: Reason,
    message: string,
    options: {
      metadata?: Record<string, string>;
      violations?: readonly { field: string; description: string }[];
      unsaid?: string;
      cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = reason;
    this.metadata = options.metadata ?? {};
    this.violations = options.violations ?? [];
    this.unsaid = options.unsaid ?? "";
  }

  /** The gRPC code of the reason. */
  get code(): Code {
    return reasons[this.reason];
  }
}
