import { type GateConfig, gateDefaults } from "../engines/gate/config.ts";

/** Engines for runtimes that ask before each step, there for a newcomer to try; a token of each is in the data directory. */
export const devGateEngines: readonly GateConfig[] = [
  { name: "ai-first", kind: "ai-first", ...gateDefaults },
  { name: "agents", kind: "gate", ...gateDefaults },
];
