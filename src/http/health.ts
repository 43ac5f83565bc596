import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/grpc/health/v1/health_pb.ts";
import { MissionControlError } from "../errors.ts";
import { toConnectError } from "../interceptors/errors.ts";

/** How often a watch looks, in ms. */
const lookMs = 500;

/**
 * Registers grpc.health.v1. All services stand and fall together, with the server ("").
 *
 * @param ready whether calls can be served now.
 */
export function registerHealth(
  router: ConnectRouter,
  options: { services: readonly string[]; ready: () => boolean; maxWatches: number },
): void {
  const known = new Set(["", Health.typeName, ...options.services]);
  const status = () => (options.ready() ? Status.SERVING : Status.NOT_SERVING);
  let watches = 0;

  router.service(Health, {
    check({ service }) {
      if (known.has(service)) return { status: status() };
      throw new ConnectError(`there is no service "${service.slice(0, 128)}" here`, Code.NotFound);
    },
    list: () => ({ statuses: Object.fromEntries([...known].map((service) => [service, { status: status() }])) }),
    async *watch({ service }, { signal }) {
      if (watches >= options.maxWatches) {
        const message = `there are ${watches} health watches already: use Check`;
        throw toConnectError(new MissionControlError("TOO_MANY_WATCHERS", message));
      }
      watches++;
      try {
        for (let last: Status | undefined; ; await delay(lookMs, undefined, { signal })) {
          // The protocol wants a watch of an unknown service to stay open: it might come.
          const now = known.has(service) ? status() : Status.SERVICE_UNKNOWN;
          if (now !== last) yield { status: now };
          last = now;
        }
      } finally {
        watches--;
      }
    },
  });
}
