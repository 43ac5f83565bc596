import { readFileSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { usageFailure } from "./failure.ts";

/** One server and how to talk to it. All values are as written. */
export interface Context {
  readonly server?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly signingKey?: string;
  readonly output?: string;
  readonly timeout?: string;
}

/** The config file: several servers by name. */
export interface ConfigFile {
  readonly path: string;
  readonly currentContext?: string;
  readonly contexts: Readonly<Record<string, Context>>;
}

const contextKeys: readonly (keyof Context)[] = ["server", "token", "tokenFile", "signingKey", "output", "timeout"];

/** Where the config file is looked for. */
export function configFilePath(env: Readonly<NodeJS.ProcessEnv>, home: string): string {
  const base = env.XDG_CONFIG_HOME && isAbsolute(env.XDG_CONFIG_HOME) ? env.XDG_CONFIG_HOME : join(home, ".config");
  return join(base, "mission-control", "config.json");
}

/** Reads the config file; an absent one is empty. Throws a usage failure that names the key which is wrong. */
export function readConfigFile(path: string): ConfigFile {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { path, contexts: {} };
    throw usageFailure(`cannot read the config file ${path}: ${(error as Error).message}`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw usageFailure(`the config file ${path} is not JSON: ${(error as Error).message}`);
  }
  const fault = (key: string, what: string) => usageFailure(`config file ${path}: "${key}" ${what}`);
  const root = object(json, "(root)", fault);
  refuseUnknown(root, ["currentContext", "contexts"], "", fault);
  const contexts: Record<string, Context> = {};
  for (const [name, value] of Object.entries(object(root.contexts ?? {}, "contexts", fault))) {
    const key = `contexts.${name}`;
    const context = object(value, key, fault);
    refuseUnknown(context, contextKeys, `${key}.`, fault);
    for (const [field, content] of Object.entries(context)) {
      if (typeof content !== "string" || content === "") throw fault(`${key}.${field}`, "must be a non-empty string");
    }
    if (context.token !== undefined && context.tokenFile !== undefined) {
      throw fault(key, "has both token and tokenFile: keep one");
    }
    contexts[name] = context as Context;
  }
  const current = root.currentContext;
  if (current === undefined) return { path, contexts };
  if (typeof current !== "string" || !Object.hasOwn(contexts, current)) {
    throw fault(
      "currentContext",
      `must name one of the contexts (${Object.keys(contexts).join(", ") || "there are none"})`,
    );
  }
  return { path, contexts, currentContext: current };
}

type Fault = (key: string, what: string) => Error;

function object(value: unknown, key: string, fault: Fault): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw fault(key, "must be an object");
  return value as Record<string, unknown>;
}

function refuseUnknown(value: Record<string, unknown>, known: readonly string[], prefix: string, fault: Fault): void {
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) throw fault(prefix + key, `is not a key that mctl knows (${known.join(", ")})`);
  }
}
