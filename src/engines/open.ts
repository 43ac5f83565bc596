import type { Engine } from "./engine.ts";
import type { AdminAddress } from "./restate/admin-api.ts";
import { RestateEngine } from "./restate.ts";

/** One engine, as configured. */
export interface EngineConfig {
  readonly name: string;
  readonly kind: "restate";
  readonly address: AdminAddress;
}

/** An engine that its opener closes. */
export type OpenEngine = Engine & { close(): void };

/** The adapter for a configured engine. Nothing is asked of the engine yet. */
export function openEngine({ name, address }: EngineConfig): OpenEngine {
  return new RestateEngine(name, address);
}
