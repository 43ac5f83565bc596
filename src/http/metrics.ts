import { create } from "@bufbuild/protobuf";
import { createContextValues, createHandlerContext, type Interceptor } from "@connectrpc/connect";
import { invokeUnaryImplementation } from "@connectrpc/connect/protocol";
import { GetMetricsRequestSchema, Metrics } from "../../gen/missioncontrol/metrics/v1/metrics_pb.ts";
import { MissionControlError } from "../errors.ts";
import { type Call, callKey } from "../interceptors/context.ts";
import { type Answer, answerOf } from "./answer.ts";
import type { Shutdown } from "./connect.ts";
import type { Exchange } from "./exchange.ts";
import type { Limits } from "./limits.ts";
import { rpcPath } from "./rpcs.ts";

export const metricsPath = "/metrics";

/**
 * Prometheus' text. It is no page: it tells what runs here, so it goes through the same interceptors as every RPC, as a unary
 * call of a method whose governance option says what it needs. There is no other way to the text than behind them.
 */
export function createMetrics(options: {
  text: (call: Call) => Promise<string>;
  interceptors: Interceptor[];
  limits: Limits;
  shutdown: Shutdown;
}): { serve(exchange: Exchange): Promise<Answer> } {
  const { interceptors, limits, shutdown } = options;
  const method = Metrics.method.getMetrics;
  return {
    async serve({ req, call, header, signal }) {
      if (req.method !== "GET" && req.method !== "HEAD") {
        throw new MissionControlError(
          "METHOD_NOT_ALLOWED",
          `${metricsPath} does not know ${req.method}: use GET or HEAD`,
          {
            metadata: { allow: "GET, HEAD" },
          },
        );
      }
      call.method = rpcPath(method).slice(1);
      const spec = { kind: method.methodKind, method, impl: async () => ({ text: await options.text(call) }) };
      const context = createHandlerContext({
        service: method.parent,
        method,
        protocolName: "rest",
        requestMethod: req.method,
        url: `http://mission-control${metricsPath}`,
        requestHeader: header,
        requestSignal: signal,
        shutdownSignal: shutdown.unary,
        contextValues: createContextValues().set(callKey, call),
        timeoutMs: limits.unaryDeadlineMs,
      });
      try {
        const output = await invokeUnaryImplementation(spec, context, create(GetMetricsRequestSchema), interceptors);
        context.abort();
        return answerOf(200, "text/plain; version=0.0.4; charset=utf-8", output.text);
      } catch (error) {
        context.abort(error);
        throw error;
      }
    },
  };
}
