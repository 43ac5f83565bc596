import { setTimeout as delay } from "node:timers/promises";
import { type CallOptions, Code, ConnectError } from "@connectrpc/connect";
import { backOff, maxAttempts } from "./connection.ts";
import { printable } from "./view/text.ts";

/** A watch that once worked looks for the server again for this long. */
const maxOutageMs = 10 * 60_000;

/** Failures after which a watch goes on: an outage, a deadline of the server's, a consumer that was too slow. */
const passing: ReadonlySet<Code> = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.ResourceExhausted]);

/**
 * The events of a stream, across outages: `open` is called anew after each. Ends only by a failure that does not pass, by
 * `signal`, or when the consumer leaves.
 */
export async function* follow<Event>(
  options: {
    readonly signal: AbortSignal;
    /** The server's name, for notes. */
    readonly server: string;
    /** Is told of an outage, and when it is over. */
    note(text: string): void;
    /** What is followed; by default "watch". */
    readonly what?: string;
    /** The server answered a moment ago, so that an outage at once is one to wait for. */
    readonly seen?: boolean;
  },
  open: (options: CallOptions) => AsyncIterable<Event>,
): AsyncGenerator<Event> {
  const { signal, server, note, what = "watch" } = options;
  let seen = options.seen ?? false;
  let lastSeen = Date.now();
  for (let attempt = 1; ; attempt++) {
    let outage: ConnectError;
    try {
      for await (const event of open({ signal })) {
        if (seen && attempt > 1) note(`mctl: the ${what} goes on\n`);
        attempt = 1;
        seen = true;
        lastSeen = Date.now();
        yield event;
      }
      outage = new ConnectError(`the server ended the ${what}`, Code.Unavailable);
    } catch (error) {
      outage = ConnectError.from(error);
    }
    const patient = seen ? Date.now() - lastSeen < maxOutageMs : attempt < maxAttempts;
    if (signal.aborted || !passing.has(outage.code) || !patient) throw outage;
    if (seen && attempt === 1) note(`mctl: lost ${server} (${printable(outage.rawMessage)}); trying again\n`);
    await delay(backOff(attempt), undefined, { signal });
  }
}
