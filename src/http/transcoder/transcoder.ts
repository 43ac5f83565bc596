import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { createContextValues, createHandlerContext, type Interceptor, type MethodImplSpec } from "@connectrpc/connect";
import { invokeUnaryImplementation, transformInvokeImplementation } from "@connectrpc/connect/protocol";
import { MissionControlError } from "../../errors.ts";
import { callKey } from "../../interceptors/context.ts";
import { type Answer, answerOf } from "../answer.ts";
import { readWholeBody } from "../body.ts";
import type { Shutdown } from "../connect.ts";
import type { Exchange } from "../exchange.ts";
import type { Limits } from "../limits.ts";
import { endWithItsCall, only, rpcPath } from "../rpcs.ts";
import { requestMessage } from "./request.ts";
import { ndjson, responseJson, type StreamFormat, serverSentEvents } from "./response.ts";
import { bindingsOf, type Match, RouteTable } from "./routes.ts";

/** Serves RPCs over REST, as their google.api.http options say, through the same chain as every other protocol. */
export interface Transcoder {
  /** The methods that a path knows; empty: there is no such path. */
  allow(path: string): string[];
  /** Puts the name of the RPC that a request is for into its call, where there is one. */
  name(exchange: Exchange): void;
  /** The answer to a request. Throws what is wrong with it, and what the chain throws. */
  serve(exchange: Exchange): Promise<Answer>;
}

type Message = MessageShape<DescMessage>;

export function createTranscoder(options: {
  specs: readonly MethodImplSpec[];
  interceptors: Interceptor[];
  limits: Limits;
  shutdown: Shutdown;
}): Transcoder {
  const { interceptors, limits, shutdown } = options;
  const specs = new Map(options.specs.map((spec) => [spec.method, endWithItsCall(spec)]));
  const table = new RouteTable([...specs.keys()].flatMap(bindingsOf));

  const contextOf = (exchange: Exchange, { method, kind }: MethodImplSpec) => {
    const unary = kind === "unary";
    const { req, signal, header, call, path } = exchange;
    const timeoutMs = timeoutOf(header, unary ? limits.unaryDeadlineMs : limits.streamDeadlineMs);
    const deadline = timeoutMs ?? (unary ? limits.unaryDeadlineMs : undefined);
    return createHandlerContext({
      service: method.parent,
      method,
      protocolName: "rest",
      requestMethod: req.method ?? "",
      url: `http://mission-control${path}`,
      requestHeader: header,
      requestSignal: signal,
      shutdownSignal: unary ? shutdown.unary : shutdown.streams,
      contextValues: createContextValues().set(callKey, call),
      ...(deadline !== undefined && { timeoutMs: deadline }),
    });
  };

  return {
    allow: (path) => table.allow(path),
    name({ call, req, path }) {
      const match = table.match(req.method ?? "", path);
      if (match !== undefined) call.method = rpcPath(match.binding.method).slice(1);
    },
    async serve(exchange) {
      const match = matchOf(exchange, table);
      const spec = specs.get(match.binding.method);
      if (spec === undefined) throw new Error(`no implementation of ${match.binding.method}`);
      const context = contextOf(exchange, spec);
      try {
        const message = await messageOf(exchange, match, limits);
        if (spec.kind === "unary") {
          const output = await invokeUnaryImplementation(spec, context, message, interceptors);
          const answer = answerOf(200, "application/json", JSON.stringify(responseJson(match.binding, output)));
          copy(context.responseHeader, answer.headers);
          context.abort();
          return answer;
        }
        const output = transformInvokeImplementation(
          spec,
          context,
          interceptors,
        )(only(message))[Symbol.asyncIterator]();
        const format = wantsEvents(exchange) ? serverSentEvents(match.binding) : ndjson(match.binding);
        // Until the first message there can still be an answer with the status of an error.
        const first = output.next();
        await (format.heartbeat === undefined ? first : within(first, limits.heartbeatMs));
        const headers = new Headers({
          "content-type": format.contentType,
          "cache-control": "no-store",
          "x-content-type-options": "nosniff",
        });
        copy(context.responseHeader, headers);
        return { status: 200, headers, body: frames(output, first, format, limits.heartbeatMs, () => context.abort()) };
      } catch (error) {
        context.abort(error);
        throw error;
      }
    },
  };
}

function matchOf({ req, path }: Exchange, table: RouteTable): Match {
  const match = table.match(req.method ?? "", path);
  if (match !== undefined) return match;
  const allow = table.allow(path).join(", ");
  const shown = path.slice(0, 256);
  if (allow === "") {
    throw new MissionControlError("UNKNOWN_PATH", `there is nothing at ${shown}: see /docs for what there is`);
  }
  throw new MissionControlError("METHOD_NOT_ALLOWED", `${shown} does not know ${req.method}: use one of ${allow}`, {
    metadata: { allow },
  });
}

async function messageOf({ req, header, query }: Exchange, match: Match, limits: Limits): Promise<Message> {
  const hasBody = req.headers["transfer-encoding"] !== undefined || !/^0*$/.test(header.get("content-length") ?? "0");
  const body = req.stream?.endAfterHeaders
    ? Buffer.alloc(0)
    : await readWholeBody(req, header.get("content-encoding"), limits);
  const contentType = header.get("content-type") ?? "";
  if ((hasBody || body.byteLength > 0) && !/^application\/json\s*(;|$)/i.test(contentType)) {
    throw new MissionControlError(
      "UNSUPPORTED_MEDIA_TYPE",
      `content-type "${contentType.slice(0, 128)}" is not understood here: send application/json`,
    );
  }
  const resumable = match.binding.method.input.fields.some((field) => field.name === "resume_token");
  const lastEventId = header.get("last-event-id") ?? "";
  return requestMessage(match, query, body, resumable && lastEventId !== "" ? lastEventId : undefined);
}

/** connect-timeout-ms says a deadline on REST too. */
function timeoutOf(header: Headers, maxMs: number): number | undefined {
  const value = header.get("connect-timeout-ms");
  if (value === null) return undefined;
  if (/^\d{1,10}$/.test(value) && Number(value) <= maxMs) return Number(value);
  throw new MissionControlError("INVALID_ARGUMENT", `connect-timeout-ms is a number of milliseconds up to ${maxMs}`);
}

function wantsEvents({ header }: Exchange): boolean {
  return /(^|,)\s*text\/event-stream\s*(;|,|$)/i.test(header.get("accept") ?? "");
}

/** What the chain and the service set on the answer, on top of what the port says. */
function copy(from: Headers, to: Headers): void {
  from.forEach((value, name) => {
    to.set(name, value);
  });
}

/** The stream as it is written, one message at a time: the next is asked for when the one before has left. */
async function* frames(
  output: AsyncIterator<Message>,
  first: Promise<IteratorResult<Message>>,
  format: StreamFormat,
  heartbeatMs: number,
  done: () => void,
): AsyncGenerator<Uint8Array> {
  let pending = first;
  try {
    for (;;) {
      const step = format.heartbeat === undefined ? await pending : await within(pending, heartbeatMs);
      if (step === undefined) {
        yield Buffer.from(format.heartbeat ?? "");
        continue;
      }
      if (step.done) return;
      yield Buffer.from(format.message(step.value));
      pending = output.next();
    }
  } catch (failure) {
    yield Buffer.from(format.failure(failure));
  } finally {
    done();
    await output.return?.();
  }
}

/** What the promise brings, or undefined after so many ms. */
function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), ms);
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
