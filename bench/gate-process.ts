import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate } from "node:timers/promises";
import { startGateServer } from "../test/fixture/gate-server.ts";

/** What is served: the real server over gate engines, or node:http that answers ALLOW to everything. */
export type Served = "gate" | "bare";

/** Where it listens, and what opens its doors; only a hook where it is the bare one. */
export interface Doors {
  /** Where an AI-First Runtime asks. */
  readonly hookUrl: string;
  readonly url: string;
  /** An operator's. */
  readonly token: string;
  /** Of gates of engine "attached". */
  readonly gateToken: string;
}

/** What it takes of memory once its garbage is collected, in bytes, whenever it is asked. */
export interface Memory {
  /** On the heap, and what that keeps outside of it. */
  readonly used: number;
  readonly resident: number;
}

const say = (said: Doors | Memory) => process.send?.(said);

/** One of the servers of the bench, in a process of its own: what callers cost is neither on its clock nor in its memory. Ends with its parent. */
if ((process.argv[2] as Served) === "bare") {
  const answer = JSON.stringify({ decision: "ALLOW", reason: "no brake holds it" });
  const server = createServer({ noDelay: true }, (req, res) => {
    // What is asked is read, as it has to be for the next request to come.
    req.resume().once("end", () => res.setHeader("content-type", "application/json").end(answer));
  });
  server.listen({ port: 0, host: "127.0.0.1", backlog: 8_192 }, () => {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    say({ hookUrl: `${url}/`, url, token: "", gateToken: "" });
  });
} else {
  const server = await startGateServer();
  const { url, token } = server;
  say({ hookUrl: await server.hookUrl(), url, token, gateToken: await server.gateToken("attached") });
}
process.on("message", async () => {
  for (let n = 0; n < 3; n++) {
    globalThis.gc?.();
    await setImmediate();
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  say({ used: heapUsed + external, resident: rss });
});
process.on("disconnect", () => process.exit(0));
