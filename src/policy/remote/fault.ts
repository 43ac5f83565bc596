const maxMessage = 512;

/** Why a remote has given no decision. The message says so in words that fit behind "… could not be asked: ". */
export class RemoteFault extends Error {
  override readonly name = "RemoteFault";
  /**
   * "unreachable": there is nobody who answers (no connection, no answer in time, or word that the service is not available).
   * "unclear": there is an answer, and it is none of the two that there may be.
   */
  readonly kind: "unreachable" | "unclear";
  /** True where asking once more, at once, may help. */
  readonly retryable: boolean;

  constructor(kind: RemoteFault["kind"], message: string, options: { retryable?: boolean; cause?: unknown } = {}) {
    // Libraries put line breaks and call sites into theirs; this one goes into an answer.
    super(
      message.replace(/\s+/g, " ").trim().slice(0, maxMessage),
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.kind = kind;
    this.retryable = options.retryable ?? false;
  }
}

/** What was thrown, as a fault. */
export function faultOf(error: unknown): RemoteFault {
  if (error instanceof RemoteFault) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new RemoteFault("unclear", message, { cause: error });
}
