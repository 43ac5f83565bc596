import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { type Context, createEndpointHandler, service } from "@restatedev/restate-sdk";

/** What the process says: where it listens, then how many runs await with an open connection, whenever it is asked. */
export type Said = { readonly port: number } | { readonly awaiting: number };

let awaiting = 0;

/**
 * The agents of the benches, in a process of their own: what it costs an agent to be paused is not on the clock of who
 * pauses it. Ends with its parent.
 */
const Awaiting = service({
  name: "Awaiting",
  handlers: {
    run: async (ctx: Context) => {
      awaiting++;
      ctx.request().attemptCompletedSignal.addEventListener("abort", () => awaiting--, { once: true });
      await ctx.awakeable<string>().promise;
    },
  },
  // It awaits with an open connection for as long as a bench takes.
  options: { inactivityTimeout: { hours: 1 }, abortTimeout: { hours: 1 } },
});

const say = (said: Said) => process.send?.(said);
const server = createServer(createEndpointHandler({ services: [Awaiting], logger: () => {} }));
server.on("session", (session) => session.on("error", () => {})); // the engine stops first
server.listen(0, "127.0.0.1", () => say({ port: (server.address() as AddressInfo).port }));
process.on("message", () => say({ awaiting }));
process.on("disconnect", () => process.exit(0));
