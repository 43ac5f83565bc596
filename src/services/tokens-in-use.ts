import { MissionControlError } from "../errors.ts";
import type { GateTokens } from "../identity/gate-tokens.ts";
import type { Principal } from "../identity/principal.ts";
import { watchStanding } from "../interceptors/standing.ts";

/** A token with which somebody waits. */
interface InUse {
  readonly waiting: Set<AbortController>;
  readonly stop: () => void;
}

/**
 * The gate tokens with which runtimes wait for an answer. Each is looked at again for as long as somebody does, as that of a stream is, and
 * once for all of them: who waits with one that was revoked, or has ended, waits no longer.
 */
export class TokensInUse {
  readonly #tokens: Pick<GateTokens, "verify" | "onDoubt">;
  /** By the token's id. */
  readonly #inUse = new Map<string, InUse>();

  constructor(tokens: Pick<GateTokens, "verify" | "onDoubt">) {
    this.#tokens = tokens;
  }

  /**
   * Does what a runtime with this token asks for, until the signal aborts or the token is no longer good: `work` gets a signal that aborts
   * with what a new request would then be refused with. Rejects with that where it is not good to begin with.
   */
  async use<T>(
    secret: string,
    signal: AbortSignal,
    work: (principal: Principal, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const principal = await this.#tokens.verify(secret);
    const { tokenId } = principal;
    const inUse = this.#inUse.get(tokenId) ?? this.#watch(secret, principal);
    const over = new AbortController();
    inUse.waiting.add(over);
    try {
      return await work(principal, AbortSignal.any([signal, over.signal]));
    } finally {
      inUse.waiting.delete(over);
      if (inUse.waiting.size === 0) this.#leave(tokenId, inUse);
    }
  }

  #watch(secret: string, { tokenId, expireTime }: Principal): InUse {
    const waiting = new Set<AbortController>();
    const check = async () => {
      try {
        await this.#tokens.verify(secret);
      } catch (error) {
        // A disk that cannot be read says nothing of the token: what is held stays held.
        if (error instanceof MissionControlError && error.reason.startsWith("TOKEN_")) throw error;
      }
    };
    const onDoubt = (listener: () => void) => this.#tokens.onDoubt(listener);
    const stop = watchStanding({ expireTime, check, onDoubt }, (error) => {
      this.#leave(tokenId, inUse);
      for (const over of waiting) over.abort(error);
    });
    const inUse = { waiting, stop };
    this.#inUse.set(tokenId, inUse);
    return inUse;
  }

  /** Nobody waits with it any more. */
  #leave(tokenId: string, inUse: InUse): void {
    inUse.stop();
    if (this.#inUse.get(tokenId) === inUse) this.#inUse.delete(tokenId);
  }
}
