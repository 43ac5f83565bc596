import type { Engine } from "./engine.ts";
import type { GateConfig } from "./gate/config.ts";
import type { AdminAddress } from "./restate/admin-api.ts";
import { RestateEngine } from "./restate.ts";

/** One engine, as configured. */
export type EngineConfig = RestateConfig | GateConfig;

/** A Restate, as configured. */
export interface RestateConfig {
  readonly name: string;
  readonly kind: "restate";
  readonly address: AdminAddress;
}

/** An engine that its opener closes. */
export type OpenEngine = Engine & { close(): void };

/** The adapters for the configured engines that are somewhere else. Nothing is asked of them yet. */
export function openEngines(configs: readonly EngineConfig[]): OpenEngine[] {
  return configs.filter((one) => one.kind === "restate").map(({ name, address }) => new RestateEngine(name, address));
}

/** The configured engines that are kept in the server's own store: what gates report. */
export function gatesAmong(configs: readonly EngineConfig[]): GateConfig[] {
  return configs.filter((one) => one.kind !== "restate");
}
