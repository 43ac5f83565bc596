import type { InputsConfig } from "./inputs.ts";

/** An engine whose runtime asks before each step, as configured. Times in ms. */
export interface GateConfig {
  readonly name: string;
  /** `ai-first`: the AI-First Runtime, by its governance hooks. `gate`: runtimes that attach to the Gate service. */
  readonly kind: "ai-first" | "gate";
  /** A workflow that nobody has heard of for so long, and that does not wait at the gate, is shown as silent. */
  readonly silentAfterMs: number;
  /** What has ended, or has been silent, for so long is forgotten. */
  readonly retentionMs: number;
  /** How what workflows and steps were given is kept; undefined: none of it is. */
  readonly inputs?: InputsConfig | undefined;
  /** Of `ai-first` only. */
  readonly hooks?: HookConfig | undefined;
}

/** How the AI-First Runtime is set, and what it is answered. */
export interface HookConfig {
  /** The runtime's own timeout of its hooks. */
  readonly timeoutMs: number;
  /** What a step that is held is answered before that time is over. */
  readonly atTimeout: HookDecision;
}

/** What the AI-First Runtime reads of an answer; everything else is ALLOW to it. */
export type HookDecision = "ALLOW" | "DENY" | "PAUSE";

/** Where an entry says nothing else. */
export const gateDefaults = {
  silentAfterMs: 10 * 60_000,
  retentionMs: 7 * 24 * 60 * 60_000,
  hooks: { timeoutMs: 10 * 60_000, atTimeout: "DENY" },
} as const satisfies Partial<GateConfig>;
