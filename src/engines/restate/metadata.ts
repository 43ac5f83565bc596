import type { AdminApi } from "./admin-api.ts";
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

/** Keeps the services' metadata for a few seconds; one fetch at a time whatever the number of readers. */
export function cachedMetadata(api: AdminApi): (signal?: AbortSignal) => Promise<ServiceMetadata> {
  let value: ServiceMetadata = new Map();
  let expires = 0;
  let fetching: Promise<ServiceMetadata> | undefined;
  const fetch = async () => {
    const body = await api.get<ServicesBody>("/services");
    value = new Map(
      body.services.map((service) => [
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
  return async (signal) => {
    if (Date.now() < expires) return value;
    fetching ??= fetch().finally(() => {
      fetching = undefined;
    });
    signal?.throwIfAborted();
    return fetching;
  };
}
