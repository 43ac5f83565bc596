import { readFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import { resolve } from "node:path";
import type { NoteSigner } from "../proof/note.ts";
import { type Context, configFilePath, readConfigFile } from "./config-file.ts";
import { findDevKey, mintDevToken } from "./dev-token.ts";
import { parseDuration } from "./duration.ts";
import { usageFailure } from "./failure.ts";
import { readSigningKey } from "./signing-key.ts";

/** The flags that every command takes, as typed. */
export interface GlobalFlags {
  readonly server?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly signingKey?: string;
  readonly context?: string;
  readonly output?: string;
  readonly timeout?: string;
  readonly dataDir?: string;
}

/** What settings are found from. */
export interface Surroundings {
  readonly env: Readonly<NodeJS.ProcessEnv>;
  readonly cwd: string;
  readonly home: string;
  /** The operating system's name of the user. */
  readonly user: string;
}

export type OutputFormat = "table" | "json";

/** Where to call, as whom, and how to show the answer. */
export interface Settings {
  /** Scheme, host and port. */
  readonly server: string;
  readonly loopback: boolean;
  readonly output: OutputFormat;
  /** How long one answer may take, in ms. */
  readonly timeoutMs: number;
  /** The token for a call that is about to be made: files are read, dev tokens made anew each time. Undefined: there is none. */
  token(): Promise<string | undefined>;
  /** The key to sign control calls with; undefined: they are not signed. */
  readonly signer: NoteSigner | undefined;
}

/** A setting as written, and where it was. */
interface Named {
  readonly value: string;
  readonly where: string;
}

const defaultServer = "http://127.0.0.1:8030";
const devTokenLifetimeMs = 5 * 60_000;

/** The roles of the token that mctl makes itself: what a newcomer needs to brake, and to read the ledger about it. */
const devRoles = ["sre", "auditor"];

/** Flags, then the environment, then the config file's context, then the defaults. Throws a usage failure that names the key. */
export function resolveSettings(flags: GlobalFlags, around: Surroundings): Settings {
  const { env } = around;
  const { context, contextName } = chooseContext(flags, around);
  const pick = (flag: keyof GlobalFlags & keyof Context): Named | undefined => {
    const name = kebab(flag);
    const variable = `MCTL_${name.replaceAll("-", "_").toUpperCase()}`;
    if (flags[flag] !== undefined) return { value: flags[flag], where: `--${name}` };
    if (env[variable]) return { value: env[variable], where: variable };
    if (context[flag] !== undefined) return { value: context[flag], where: `${flag} of context "${contextName}"` };
    return undefined;
  };
  const signingKey = pick("signingKey");
  const { server, loopback } = parseServer(pick("server") ?? { value: defaultServer, where: "" });
  return {
    server,
    loopback,
    output: parseOutput(pick("output") ?? { value: "table", where: "" }),
    timeoutMs: parseTimeout(pick("timeout") ?? { value: "10s", where: "" }),
    signer: signingKey && readSigningKey(resolve(around.cwd, signingKey.value)),
    token: tokenSource(flags, around, context, server, loopback),
  };
}

/** How to show an answer, for a command that calls no server. */
export function outputOf(flags: Pick<GlobalFlags, "output">, { env }: Pick<Surroundings, "env">): OutputFormat {
  const [value, where] = flags.output ? [flags.output, "--output"] : [env.MCTL_OUTPUT || "table", "MCTL_OUTPUT"];
  return parseOutput({ value, where });
}

function chooseContext(flags: GlobalFlags, { env, home }: Surroundings): { context: Context; contextName: string } {
  const file = readConfigFile(configFilePath(env, home));
  const contextName = flags.context ?? (env.MCTL_CONTEXT || file.currentContext);
  if (contextName === undefined) return { context: {}, contextName: "" };
  const context = Object.hasOwn(file.contexts, contextName) ? file.contexts[contextName] : undefined;
  if (context === undefined) {
    const known = Object.keys(file.contexts).join(", ") || "none";
    throw usageFailure(`there is no context "${contextName}" in ${file.path} (there: ${known})`);
  }
  return { context, contextName };
}

function parseOutput({ value, where }: Named): OutputFormat {
  if (value === "table" || value === "json") return value;
  throw usageFailure(`${where} must be table or json, not "${value}"`);
}

function parseTimeout({ value, where }: Named): number {
  const ms = parseDuration(value);
  if (ms === undefined || ms <= 0) throw usageFailure(`${where} must be a duration like 10s or 1m30s, not "${value}"`);
  return ms;
}

function parseServer({ value, where }: Named): { server: string; loopback: boolean } {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.href !== `${url.origin}/`) {
    throw usageFailure(`${where} must be a URL like https://mission-control.example:8030, not "${value}"`);
  }
  const loopback =
    url.hostname === "localhost" ||
    url.hostname === "[::1]" ||
    (isIPv4(url.hostname) && url.hostname.startsWith("127."));
  return { server: url.origin, loopback };
}

/** The first place that names a token wins; a context's token goes to that context's server and to no other. */
function tokenSource(
  flags: GlobalFlags,
  around: Surroundings,
  context: Context,
  server: string,
  loopback: boolean,
): () => Promise<string | undefined> {
  const { env, cwd } = around;
  const ownServer = parseServer({ value: context.server ?? defaultServer, where: "server" }).server === server;
  const places = [
    { token: flags.token, file: flags.tokenFile, names: ["--token", "--token-file"] },
    { token: env.MCTL_TOKEN, file: env.MCTL_TOKEN_FILE, names: ["MCTL_TOKEN", "MCTL_TOKEN_FILE"] },
    ...(ownServer ? [{ token: context.token, file: context.tokenFile, names: ["token", "tokenFile"] }] : []),
  ];
  for (const { token, file, names } of places) {
    if (token && file) throw usageFailure(`${names[0]} and ${names[1]} are both given: keep one`);
    if (token !== undefined && token !== "") return async () => checkToken(token, String(names[0]));
    if (file) return async () => checkToken(readTokenFile(resolve(cwd, file)), file);
  }
  if (!loopback) return async () => undefined;
  return async () => {
    const key = findDevKey(cwd, dataDir(flags, env));
    if (key === undefined) return undefined;
    return mintDevToken(key, { subject: around.user, roles: devRoles, expiresInMs: devTokenLifetimeMs });
  };
}

/** Where Mission Control's dev mode keeps its files, if that was said. */
export function dataDir(flags: GlobalFlags, env: Readonly<NodeJS.ProcessEnv>): string | undefined {
  return flags.dataDir ?? (env.MCTL_DATA_DIR || undefined);
}

function readTokenFile(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    throw usageFailure(`cannot read the token file: ${(error as Error).message}`);
  }
}

function checkToken(token: string, where: string): string {
  if (!/^[\w.~+/=-]+$/.test(token)) throw usageFailure(`what ${where} gives is not a token (RFC 6750)`);
  return token;
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The flags that say where to call and as whom, again as words of a command line; never a token itself. */
export function serverWords(flags: GlobalFlags): string[] {
  const { server, context, tokenFile, dataDir } = flags;
  const named = { "--server": server, "--context": context, "--token-file": tokenFile, "--data-dir": dataDir };
  return Object.entries(named).flatMap(([name, value]) => (value === undefined ? [] : [name, value]));
}
