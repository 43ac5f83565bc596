import { MissionControlError } from "../errors.ts";
import type { Call } from "../interceptors/context.ts";
import { type Answer, answerOf } from "./answer.ts";
import { readWholeBody } from "./body.ts";
import type { Exchange, NodeRequest } from "./exchange.ts";
import type { Limits } from "./limits.ts";

/** Below it are the doors of runtimes that ask by HTTP; the last part of the path is their gate token. */
const gatesPath = "/v1/gates/";
const anyToken = /mcgt(_|%5f).*$/i;
const aiFirstPath = `${gatesPath}ai-first/`;

/**
 * Answers what a runtime asks. `secret`: what its URL has for a token; `body` reads what it sends, which is to be done for a good
 * one only.
 */
export type AnswerHook = (
  call: Call,
  secret: string,
  body: () => Promise<unknown>,
  signal: AbortSignal,
) => Promise<object>;

/** True where the request is for a door of runtimes. */
export function isHook(url: string | undefined): boolean {
  return url?.startsWith(gatesPath) ?? false;
}

/**
 * Takes the gate token out of the request's URL, so that nothing that comes after it (a log, the ledger, an error) can tell it.
 * Undefined where the request is not for a door of runtimes.
 */
export function takeSecret(req: NodeRequest): { readonly door: string; readonly secret: string } | undefined {
  const url = req.url ?? "";
  if (!isHook(url)) {
    // Sent to the wrong place, it is as secret.
    if (anyToken.test(url)) req.url = url.replace(anyToken, "mcgt");
    return undefined;
  }
  const [path = ""] = url.split("?", 1);
  const [kind = "", secret = "", ...more] = path.slice(gatesPath.length).split("/");
  req.url = `${gatesPath}${kind === "ai-first" ? "ai-first" : "unknown"}`;
  const door = kind === "ai-first" && more.length === 0 && secret !== "" ? aiFirstPath : "";
  return { door, secret };
}

/** Answers one hook. Rejects with what is wrong: an answer that is not 2xx has the runtime do what its fail mode says. */
export async function serveHook(
  { req, res, call, header, signal }: Exchange,
  { door, secret }: { readonly door: string; readonly secret: string },
  answer: AnswerHook,
  limits: Limits,
): Promise<Answer> {
  if (door !== aiFirstPath) {
    throw new MissionControlError("UNKNOWN_PATH", `runtimes ask at ${aiFirstPath}{gate_token}, and nowhere else here`);
  }
  if (req.method !== "POST") {
    throw new MissionControlError("METHOD_NOT_ALLOWED", `hooks do not know ${req.method}: use POST`, {
      metadata: { allow: "POST" },
    });
  }
  const body = async () => {
    if (req.headers.expect !== undefined) res.writeContinue();
    const bytes = await readWholeBody(req, header.get("content-encoding"), {
      requestBytes: limits.hookBytes,
      bodyMs: limits.bodyMs,
    });
    try {
      return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
    } catch {
      throw new MissionControlError("INVALID_ARGUMENT", "the body is not JSON");
    }
  };
  return answerOf(200, "application/json", JSON.stringify(await answer(call, secret, body, signal)));
}
