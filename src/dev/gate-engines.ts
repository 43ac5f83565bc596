import { type GateConfig, gateDefaults } from "../engines/gate/config.ts";
import { defaultInputs } from "../engines/gate/inputs.ts";

/**
 * Engines for runtimes that ask before each step, there for a newcomer to try; a token of each is in the data directory.
 * @param keepInputs whether what their workflows and steps are given is kept.
 */
export function devGateEngines(keepInputs: boolean): readonly GateConfig[] {
  const inputs = keepInputs ? defaultInputs : undefined;
  return [
    { name: "ai-first", kind: "ai-first", ...gateDefaults, inputs },
    { name: "agents", kind: "gate", ...gateDefaults, inputs },
  ];
}
