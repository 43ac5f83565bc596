import { generateKeyPairSync, type KeyObject, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Clock } from "../../src/identity/clock.ts";
import { b64, es256, publicJwk } from "./tokens.ts";

/** An identity provider on a real socket, that can be made to misbehave. */
export interface Provider {
  /** Also the `iss` of its tokens. */
  readonly url: string;
  /** The paths that were asked for, in order. */
  readonly asked: string[];
  /** Answers in place of the provider, while it is set; "gone": cuts every connection. */
  behave: "gone" | RequestListener | undefined;
  /** Its keys now have these ids: new ones are made, known ones stay what they are. */
  rotate(...kids: string[]): void;
  /** A token that is signed with one of its keys, also one that it does not publish any more. */
  sign(kid: string, claims?: object): string;
  close(): Promise<void>;
}

/** @param tls key and certificate, in PEM: then it serves https. */
export async function startProvider(
  clock: Pick<Clock, "date"> = { date: () => Date.now() },
  tls?: { readonly key: string; readonly cert: string },
): Promise<Provider> {
  const made = new Map<string, { readonly privateKey: KeyObject; readonly publicKey: KeyObject }>();
  let published: string[] = [];
  const keyOf = (kid: string) => {
    const pair = made.get(kid) ?? generateKeyPairSync("ec", { namedCurve: "P-256" });
    made.set(kid, pair);
    return pair;
  };
  const serve = (req: IncomingMessage, res: ServerResponse) => {
    provider.asked.push(req.url ?? "");
    if (provider.behave === "gone") return req.socket.destroy();
    if (provider.behave) return provider.behave(req, res);
    res.setHeader("content-type", "application/json");
    if (req.url === "/.well-known/openid-configuration") {
      return res.end(JSON.stringify({ issuer: provider.url, jwks_uri: `${provider.url}/keys` }));
    }
    const keys = published.map((kid) => publicJwk(keyOf(kid).publicKey, { kid, alg: "ES256", use: "sig" }));
    return res.end(JSON.stringify({ keys }));
  };
  const server: Server = tls ? createTlsServer(tls, serve) : createServer(serve);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const provider: Provider = {
    url: `${tls ? "https" : "http"}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: [],
    behave: undefined,
    rotate(...kids) {
      published = kids;
    },
    sign(kid, claims = {}) {
      const iat = Math.floor(clock.date() / 1000);
      const facts = { iss: provider.url, aud: "mission-control", sub: "alice", jti: randomUUID(), roles: ["sre"] };
      const input = `${b64({ alg: "ES256", typ: "at+jwt", kid })}.${b64({ ...facts, iat, exp: iat + 3600, ...claims })}`;
      return `${input}.${es256(input, keyOf(kid).privateKey)}`;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  provider.rotate("first");
  return provider;
}

/** A clock that stands until it is moved on. */
export function fakeClock(): Clock & { advance(ms: number): void } {
  const begin = Date.now();
  let passed = 0;
  return {
    date: () => begin + passed,
    elapsed: () => passed,
    advance(ms) {
      passed += ms;
    },
  };
}
