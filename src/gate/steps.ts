import { type HooksProvider, PauseError } from "@restatedev/restate-sdk";
import type { Orders } from "./orders.ts";
import type { GatedWorkflow } from "./rules.ts";

/** How the engine's record of a pause by a gate begins: Mission Control knows its own by it. */
const prefix = "held by Mission Control: ";

/** The steps of this process: each is asked about before it starts, and known of until it has ended. */
export class Steps {
  readonly #orders: Orders;
  readonly #onHeld: (workflowId: string) => void;
  /** Attempts that have a step in flight. */
  readonly #attempts = new Set<Attempt>();

  /** @param onHeld is told of each workflow that takes no step, by the engine's own id. */
  constructor(orders: Orders, onHeld: (workflowId: string) => void) {
    this.#orders = orders;
    this.#onHeld = onHeld;
  }

  /** How many steps run on of workflows that are to take none. */
  inFlightButHeld(): number {
    let count = 0;
    for (const { workflow, inFlight } of this.#attempts) {
      if (this.#orders.reasonToHold(workflow) !== undefined) count += inFlight;
    }
    return count;
  }

  /**
   * Holds before a step starts, by the SDK's own pause: nothing of the step has run, no attempt is counted, and the engine
   * shows the invocation as paused until it is resumed. Only steps can be held so: a pause that is thrown outside of one is a
   * failure to the engine.
   */
  readonly hooks: HooksProvider = ({ request }) => {
    const { id, target, attemptCompletedSignal: ended } = request;
    const { service, handler } = target;
    const attempt = new Attempt({ id, type: service, handler, name: target.toString() });
    const reasonToHold = this.#orders.of(attempt.workflow);
    return {
      interceptor: {
        run: async (_name, next) => {
          // Between the answer and next() nothing may be awaited: a step that was let go would start under newer orders.
          for (let reason = reasonToHold(); reason !== undefined; reason = reasonToHold()) {
            // A pause ends the attempt, and with it the result of a step beside this one: that one finishes first.
            if (attempt.inFlight === 0) {
              this.#onHeld(attempt.workflow.id);
              throw pause(reason);
            }
            await this.#settled(attempt, ended);
            // The engine has given the step to another attempt.
            if (ended.aborted) throw pause("the attempt is over");
          }
          attempt.inFlight++;
          this.#attempts.add(attempt);
          try {
            await next();
          } finally {
            if (--attempt.inFlight === 0) this.#idle(attempt);
          }
        },
      },
    };
  };

  /** Resolves when the attempt's steps in flight have ended, when the attempt has, or when the orders have changed. */
  async #settled(attempt: Attempt, ended: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    attempt.waiting.add(resolve);
    const off = this.#orders.onChange(resolve);
    ended.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    off();
    attempt.waiting.delete(resolve);
  }

  #idle(attempt: Attempt): void {
    this.#attempts.delete(attempt);
    if (attempt.waiting.size === 0) return;
    // The SDK hands the last step's result to the engine when this turn of the loop is over: the pause must come behind it.
    setImmediate(() => {
      for (const resolve of attempt.waiting) resolve();
    });
  }
}

/** One attempt of one invocation, as the SDK makes them. */
class Attempt {
  readonly workflow: GatedWorkflow;
  inFlight = 0;
  readonly waiting = new Set<() => void>();

  constructor(workflow: GatedWorkflow) {
    this.workflow = workflow;
  }
}

function pause(reason: string): PauseError {
  const error = new PauseError(`${prefix}${reason}`);
  // The engine keeps the stack with each pause, and it would say nothing but where this line is.
  error.stack = `${error.name}: ${error.message}`;
  return error;
}
