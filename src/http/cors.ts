import { cors as connectCors } from "@connectrpc/connect";
import type { Answer } from "./answer.ts";
import type { Exchange } from "./exchange.ts";

/** How long a browser may go without asking again, s: no browser remembers longer. */
const maxAgeS = 2 * 60 * 60;

/** What pages may send: what the clients of gRPC-Web and Connect do, the token, and the call's id. */
const allowedHeaders = [...connectCors.allowedHeaders, "Authorization", "X-Request-Id", "Last-Event-ID"].join(", ");
/** What pages may read of an answer, beside its body. */
const exposedHeaders = [...connectCors.exposedHeaders, "X-Request-Id", "Retry-After", "WWW-Authenticate"].join(", ");

/** Which pages may call from a browser: CORS. It keeps nobody else from calling; tokens do that. */
export interface Cors {
  /**
   * Tells the browser whether the page may read the answer, whatever it will be. Credentials of the browser's own (cookies) are
   * never allowed: a page sends its token.
   */
  mark(exchange: Exchange): void;
  /**
   * The answer to OPTIONS, which browsers ask before they call, without a token. An origin that is not listed learns what
   * everybody does, and its browser takes it for a no.
   *
   * @param methods that the path knows.
   */
  options(exchange: Exchange, methods: readonly string[]): Answer;
}

/** @param origins exact ones, as browsers send them; there is no wildcard. */
export function createCors(origins: readonly string[]): Cors {
  const listed = new Set(origins);
  const allowed = ({ header }: Exchange): string | undefined => {
    const origin = header.get("origin");
    return origin !== null && listed.has(origin) ? origin : undefined;
  };
  return {
    mark(exchange) {
      if (listed.size === 0) return;
      const { res } = exchange;
      // Also where the origin is not listed: a cache must not give one origin's answer to another.
      res.setHeader("vary", "Origin");
      const origin = allowed(exchange);
      if (origin === undefined) return;
      res.setHeader("access-control-allow-origin", origin);
      res.setHeader("access-control-expose-headers", exposedHeaders);
    },
    options(exchange, methods) {
      const headers = new Headers({ allow: methods.join(", ") });
      if (allowed(exchange) !== undefined && exchange.header.has("access-control-request-method")) {
        headers.set("access-control-allow-methods", methods.join(", "));
        headers.set("access-control-allow-headers", allowedHeaders);
        headers.set("access-control-max-age", String(maxAgeS));
      }
      return { status: 204, headers };
    },
  };
}
