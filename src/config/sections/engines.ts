import * as z from "zod";
import { type GateConfig, gateDefaults } from "../../engines/gate/config.ts";
import { defaultInputs } from "../../engines/gate/inputs.ts";
import type { RestateConfig } from "../../engines/open.ts";
import { duration, name, section } from "../section.ts";

const adminUrl = z.string().transform((given, context): RestateConfig["address"] => {
  const socketPath = /^unix:(\/.{1,100})$/.exec(given)?.[1];
  if (socketPath !== undefined) return { socketPath };
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`) {
    const secure = url.protocol === "https:";
    return {
      host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: Number(url.port) || (secure ? 443 : 80),
      secure,
    };
  }
  context.addIssue({
    code: "custom",
    message: "has to be a URL like http://restate:9070 (without a path or a password), or unix: and a socket's path",
  });
  return z.NEVER;
});

const restate = section({
  /** Workflow ids start with it. */
  name: name(),
  kind: z.literal("restate"),
  /** Its admin API. It has no authentication of its own: let nobody else reach it. */
  admin_url: adminUrl,
}).transform(({ admin_url, ...engine }): RestateConfig => ({ ...engine, address: admin_url }));

/** What workflows and steps were given. */
const inputs = section({
  /** False: it is dropped at once. */
  keep: z.boolean(),
  /** Keys and paths of keys whose values are left out, besides what looks like a secret. */
  redact: z
    .array(
      z
        .string()
        .regex(/^(?=.*[\p{L}\p{N}])[^\p{C}]{1,128}$/u, "has to be a key, or a path of keys like customer.address"),
    )
    .max(100)
    .default([]),
  /** Of one input. */
  max_bytes: z.int().min(64).max(65_536).default(defaultInputs.maxBytes),
}).transform(({ keep, redact, max_bytes }): GateConfig["inputs"] =>
  keep ? { redact, maxBytes: max_bytes } : undefined,
);

const kept = {
  /** A workflow that nobody has heard of for so long, and that does not wait at the gate, is shown as silent. */
  silent_after: duration("1s", "30d").default(gateDefaults.silentAfterMs),
  /** What has ended, or has been silent, for so long is forgotten. */
  retention: duration("1m", "3650d").default(gateDefaults.retentionMs),
  inputs: inputs.optional(),
};

/** Runtimes that attach to the Gate service. */
const gate = section({ name: name(), kind: z.literal("gate"), ...kept }).transform(
  ({ silent_after, retention, ...engine }): GateConfig => ({
    ...engine,
    silentAfterMs: silent_after,
    retentionMs: retention,
  }),
);

/** The AI-First Runtime, by its governance hooks. */
const aiFirst = section({
  /** Workflow ids start with it. */
  name: name(),
  kind: z.literal("ai-first"),
  ...kept,
  /** The runtime's own timeout of its hooks. */
  hook_timeout: duration("1s", "24h").default(gateDefaults.hooks.timeoutMs),
  /** What a step that is held is answered before that time is over. */
  at_timeout: z.enum(["DENY", "ALLOW", "PAUSE"]).default(gateDefaults.hooks.atTimeout),
}).transform(
  ({ silent_after, retention, hook_timeout, at_timeout, ...engine }): GateConfig => ({
    ...engine,
    silentAfterMs: silent_after,
    retentionMs: retention,
    hooks: { timeoutMs: hook_timeout, atTimeout: at_timeout },
  }),
);

/** The engines whose workflows are braked. */
export const engines = z
  .array(z.discriminatedUnion("kind", [restate, gate, aiFirst], { error: "has to be one of restate, gate, ai-first" }))
  .max(64)
  .superRefine((list, context) => {
    for (const [index, { name }] of list.entries()) {
      if (list.findIndex((other) => other.name === name) === index) continue;
      context.addIssue({
        code: "custom",
        path: [index, "name"],
        message: "is the name of another engine: choose another",
      });
    }
  });
