import type { DescMethod, DescService, Message } from "@bufbuild/protobuf";
import {
  type ConnectRouter,
  createMethodImplSpec,
  createServiceImplSpec,
  type HandlerContext,
  type MethodImplSpec,
} from "@connectrpc/connect";

/** What is registered on the port: every RPC with its implementation, for gRPC, gRPC-Web, Connect and REST alike. */
export function collectRpcs(register: (router: ConnectRouter) => void): MethodImplSpec[] {
  const specs: MethodImplSpec[] = [];
  const router: ConnectRouter = {
    handlers: [],
    service(service: DescService, implementation: object) {
      const missing = service.methods.filter((method) => !(method.localName in implementation));
      if (missing.length > 0) {
        throw new Error(
          `${service.typeName} is registered without: ${missing.map((method) => method.name).join(", ")}`,
        );
      }
      specs.push(...Object.values(createServiceImplSpec(service, implementation).methods));
      return this;
    },
    rpc(method, implementation) {
      specs.push(createMethodImplSpec(method, implementation));
      return this;
    },
  };
  register(router);
  return specs;
}

/** The path of an RPC on gRPC, gRPC-Web and Connect. */
export function rpcPath(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** The services of the RPCs, each once. */
export function servicesOf(specs: readonly MethodImplSpec[]): DescService[] {
  return [...new Set(specs.map((spec) => spec.method.parent))];
}

/**
 * The RPC, ending when its call does: a stream's deadline, its client's leaving and the server's shutdown end it with their
 * error, whatever the service is waiting for.
 */
export function endWithItsCall(spec: MethodImplSpec): MethodImplSpec {
  if (spec.kind === "server_streaming") {
    const { impl } = spec;
    return {
      ...spec,
      impl: (request: Message, context: HandlerContext) => abortable(impl(request, context), context.signal),
    };
  }
  if (spec.kind === "bidi_streaming") {
    const { impl } = spec;
    return {
      ...spec,
      impl: (requests: AsyncIterable<Message>, context: HandlerContext) =>
        abortable(impl(requests, context), context.signal),
    };
  }
  return spec;
}

async function* abortable<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const step = await nextOrAbort(iterator, signal);
      if (step.done) return;
      yield step.value;
    }
  } finally {
    // Not awaited: a service that is stuck in its next message answers only when that has come.
    void iterator.return?.().catch(() => {});
  }
}

/** Promise.race on one long-lived promise would keep a reaction per message alive: hence the listener, removed each time. */
function nextOrAbort<T>(iterator: AsyncIterator<T>, signal: AbortSignal): Promise<IteratorResult<T>> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    iterator
      .next()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", abort));
  });
}

/** The one message of a call that has one. */
export async function* only<T extends Message>(message: T): AsyncGenerator<T> {
  yield message;
}
