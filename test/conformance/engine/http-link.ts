import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Engine } from "../../../src/engines/engine.ts";
import type { Fault, FaultyLink } from "./harness.ts";

/** What a bad line has to know of an engine's HTTP API. */
export interface HttpApi {
  readonly socketPath: string;
  /** True for the request that only asks whether the engine is there. */
  isGreeting(method: string, path: string): boolean;
  /** The answer of an engine that accepts and does nothing; undefined where the request is neither a hold nor a release. */
  accepted(method: string, path: string): { readonly status: number; readonly body: string } | undefined;
}

/** How long a slow engine takes for an answer, ms. */
const slowMs = 500;

/** A proxy between an adapter and its engine that does what it is told to. */
export async function httpLink(
  api: HttpApi,
  adapter: (port: number) => Engine & { close(): void },
): Promise<FaultyLink> {
  let fault: Fault = "none";
  const kept = new Set<ServerResponse>();
  const waiting = new Set<() => void>();

  const pass = (req: IncomingMessage, res: ServerResponse) => {
    const { method, url: path, headers } = req;
    const onward = request({ socketPath: api.socketPath, method, path, headers }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(res);
    });
    onward.on("error", () => res.destroy());
    res.on("close", () => onward.destroy());
    req.pipe(onward);
  };
  const answers: Record<Fault, (req: IncomingMessage, res: ServerResponse) => void> = {
    none: pass,
    unreachable: (req) => req.socket.destroy(),
    cutOff: (_req, res) => {
      res.writeHead(200, { "content-type": "application/json", "content-length": 1_000 });
      res.write('{"rows": [');
      setImmediate(() => res.destroy());
    },
    error: (_req, res) => res.writeHead(500, { "content-type": "application/json" }).end('{"message": "broken"}'),
    foreign: (_req, res) => res.writeHead(200, { "content-type": "text/html" }).end("<h1>Welcome</h1>"),
    silent: (_req, res) => {
      kept.add(res);
      for (const tell of waiting) tell();
    },
    slow: (req, res) => {
      setTimeout(() => pass(req, res), slowMs);
    },
    endless: (_req, res) => {
      res.writeHead(200, { "content-type": "application/json" });
      res.write('{"rows": [');
      const more = setInterval(() => res.write(" ".repeat(1024)), 50);
      res.on("close", () => clearInterval(more));
    },
    lying: (req, res) => {
      const said = api.accepted(req.method ?? "", req.url ?? "");
      if (said === undefined) return pass(req, res);
      res.writeHead(said.status, { "content-type": "application/json" }).end(said.body);
    },
    halfUp: (req, res) => {
      if (api.isGreeting(req.method ?? "", req.url ?? "")) pass(req, res);
      else answers.error(req, res);
    },
  };
  const server = createServer((req, res) => answers[fault](req, res));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const engine = adapter((server.address() as AddressInfo).port);
  return {
    engine,
    set: (next) => {
      fault = next;
    },
    untilKept: (count) =>
      new Promise((resolve) => {
        const tell = () => {
          if (kept.size < count) return;
          waiting.delete(tell);
          resolve();
        };
        waiting.add(tell);
        tell();
      }),
    close: async () => {
      engine.close();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
