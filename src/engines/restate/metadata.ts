import type { AdminApi, Lane } from "./admin-api.ts";
import type { ServiceMetadata } from "./rows.ts";

/** Services change only when somebody deploys. */
const maxAgeMs = 5_000;

interface ServicesBody {
  readonly services: readonly {
    readonly name: string;
    readonly metadata?: Record<string, string> | null;
    readonly handlers: readonly { readonly name: string; readonly metadata?: Record<string, string> | null }[];
  }[];
}

/**
 * Keeps the services' metadata for a few seconds; one fetch at a time for each lane, whatever the number of readers: what the
 * brake asks does not wait for an answer that somebody else is left without.
 */
export function cachedMetadata(api: AdminApi): (lane: Lane, signal?: AbortSignal) => Promise<ServiceMetadata> {
  let value: ServiceMetadata = new Map();
  let expires = 0;
  const fetching: Partial<Record<Lane, Promise<ServiceMetadata>>> = {};
  const fetch = async () => {
    const { services } = await api.get<Partial<ServicesBody>>("/services");
    if (services === undefined) throw api.foreign("/services");
    value = new Map(
      services.map((service) => [
        service.name,
        {
          labels: service.metadata ?? {},
          handlers: new Map(service.handlers.map((handler) => [handler.name, handler.metadata ?? {}])),
        },
      ]),
    );
    expires = Date.now() + maxAgeMs;
    return value;
  };
  return async (lane, signal) => {
    signal?.throwIfAborted();
    if (Date.now() < expires) return value;
    fetching[lane] ??= fetch().finally(() => {
      delete fetching[lane];
    });
    const aborted = Promise.withResolvers<never>();
    const abort = () => aborted.reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([fetching[lane], aborted.promise]);
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  };
}
