import { randomUUID } from "node:crypto";
import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { brakeFacts, callFacts, userFacts, workflowFacts } from "../facts.ts";
import type { PolicyQuestion } from "../policy.ts";
import { RemoteFault } from "./fault.ts";
import { answer, type RemoteAddress, type RemoteAnswer, type RemoteForm } from "./form.ts";
import { authorizationFrom } from "./token.ts";

/** An answer may have so many bytes, and so many more for each question. */
const maxAnswerBytes = { base: 64 * 1024, each: 2 * 1024 } as const;
const maxHeaderBytes = 16 * 1024;
/** Connections, and how many of them are kept while nobody asks. */
const connections = { most: 64, kept: 8 } as const;

/** K-OS, or any other policy decision point, by the OpenID AuthZEN Authorization API 1.0 over HTTPS. */
export class AuthzenForm implements RemoteForm {
  readonly batchSize = 100;
  readonly #address: RemoteAddress;
  readonly #base: string;
  readonly #request: typeof https.request;
  readonly #agent: http.Agent;

  constructor(address: RemoteAddress) {
    this.#address = address;
    this.#base = address.url.href.replace(/\/+$/, "");
    const { ca, cert, key } = address;
    const kept = { keepAlive: true, maxSockets: connections.most, maxFreeSockets: connections.kept };
    const secure = address.url.protocol === "https:";
    this.#request = secure ? https.request : http.request;
    this.#agent = secure ? new https.Agent({ ...kept, ca, cert, key }) : new http.Agent(kept);
  }

  async ask(questions: readonly PolicyQuestion[], signal: AbortSignal): Promise<RemoteAnswer[]> {
    const [only] = questions;
    if (only === undefined) return [];
    if (questions.length === 1) return [answerOf(await this.#post("evaluation", evaluation(only), 1, signal))];
    // Said though it is the default: an answer that stops at the first denial would be a short one.
    const options = { evaluations_semantic: "execute_all" };
    const body = { evaluations: questions.map(evaluation), options };
    const { evaluations } = asObject(await this.#post("evaluations", body, questions.length, signal), "its answer");
    if (!Array.isArray(evaluations) || evaluations.length !== questions.length) {
      const count = Array.isArray(evaluations) ? evaluations.length : 0;
      throw new RemoteFault("unclear", `it answered ${count} of ${questions.length} questions`);
    }
    return evaluations.map(answerOf);
  }

  reset(): void {
    this.#agent.destroy();
  }

  async #post(name: string, body: JsonObject, count: number, signal: AbortSignal): Promise<JsonValue> {
    const requestId = randomUUID();
    const authorization = await authorizationFrom(this.#address.tokenFile);
    signal.throwIfAborted();
    const sent = Buffer.from(JSON.stringify(body));
    const response = await this.#send(
      `${this.#base}/access/v1/${name}`,
      {
        "content-type": "application/json",
        "content-length": String(sent.length),
        accept: "application/json",
        // Nothing is decompressed of what a stranger may send in its place.
        "accept-encoding": "identity",
        "x-request-id": requestId,
        ...(authorization !== undefined && { authorization }),
      },
      sent,
      signal,
    );
    try {
      checkHead(response, requestId);
      return parse(await read(response, maxAnswerBytes.base + count * maxAnswerBytes.each));
    } catch (error) {
      // What is left of it is not waited for.
      response.destroy();
      throw signal.aborted ? signal.reason : error;
    }
  }

  #send(url: string, headers: http.OutgoingHttpHeaders, body: Buffer, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const options = { method: "POST", agent: this.#agent, headers, signal, maxHeaderSize: maxHeaderBytes };
      const request = this.#request(url, options, resolve);
      request.on("error", (error) => reject(signal.aborted ? signal.reason : connectionFault(error)));
      // A switch of protocols that nobody asked for.
      request.on("upgrade", (_response, socket) => {
        socket.destroy();
        reject(new RemoteFault("unclear", "it wants to speak another protocol"));
      });
      request.end(body);
    });
  }
}

function evaluation(question: PolicyQuestion): JsonObject {
  const { action, principal, workflow, brake } = question;
  const { id, ...properties } = userFacts(question);
  return {
    subject: { type: "user", id: id ?? principal.subject, properties },
    action: { name: action },
    resource: resource(question),
    context: {
      ...callFacts(question),
      ...(workflow && { workflow: workflowFacts(workflow) }),
      ...(brake && { brake: brakeFacts(brake) }),
    },
  };
}

function resource({ workflow, brake }: PolicyQuestion): JsonObject {
  if (workflow) return { type: "workflow", id: workflow.workflowId };
  if (brake?.brakeId) return { type: "brake", id: brake.brakeId };
  return { type: "system", id: "mission-control" };
}

/** Is it an answer to this question at all? */
function checkHead({ statusCode = 0, headers }: IncomingMessage, requestId: string): void {
  if (statusCode === 502 || statusCode === 503 || statusCode === 504) {
    throw new RemoteFault("unreachable", `it answered HTTP ${statusCode}`, { retryable: true });
  }
  if (statusCode >= 300 && statusCode < 400) {
    throw new RemoteFault("unclear", `it answered HTTP ${statusCode}: redirects are not followed`);
  }
  if (statusCode !== 200) throw new RemoteFault("unclear", `it answered HTTP ${statusCode}`);
  const type = (headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase();
  if (type !== "application/json") throw new RemoteFault("unclear", `it answered with ${type || "no type"}, not JSON`);
  const encoding = headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") throw new RemoteFault("unclear", `it answered with the content-encoding ${encoding}`);
  if (headers["x-request-id"] !== requestId) {
    throw new RemoteFault("unclear", "its answer is to another question (X-Request-ID)");
  }
}

async function read(response: IncomingMessage, limit: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response) {
      size += chunk.length;
      if (size > limit) throw new RemoteFault("unclear", `its answer is larger than ${limit} bytes`);
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof RemoteFault) throw cause;
    throw new RemoteFault("unclear", "its answer was cut off", { cause });
  }
  if (!response.complete) throw new RemoteFault("unclear", "its answer was cut off");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch (cause) {
    throw new RemoteFault("unclear", "its answer is not UTF-8", { cause });
  }
}

function parse(text: string): JsonValue {
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch (cause) {
    throw new RemoteFault("unclear", "its answer is not JSON", { cause });
  }
  // JSON.parse takes the last of two: whoever says yes and no has said neither.
  const keys = text.match(/"(?:[^"\\]|\\.)*"(?=\s*:)/g) ?? [];
  if (keys.length !== countKeys(value)) throw new RemoteFault("unclear", "its answer says something twice");
  return value;
}

function countKeys(value: JsonValue): number {
  if (value === null || typeof value !== "object") return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce<number>((sum, one) => sum + countKeys(one), own);
}

function answerOf(value: JsonValue): RemoteAnswer {
  const { decision, context } = asObject(value, "its answer");
  if (typeof decision !== "boolean") {
    throw new RemoteFault(
      "unclear",
      `its "decision" is ${decision === undefined ? "missing" : JSON.stringify(decision).slice(0, 40)}, not true or false`,
    );
  }
  const told = context === undefined || context === null ? {} : asObject(context, 'its "context"');
  const ids = Array.isArray(told.policy_ids) ? told.policy_ids.filter((id) => typeof id === "string") : [];
  const message = [told.message, told.reason_user, told.reason_admin, told.reason]
    .map(textOf)
    .find((text) => text !== "");
  return answer(decision, message ?? "", ids, typeof told.ttl === "number" ? told.ttl * 1_000 : 0);
}

/** A text, or the first of several by language or code, as AuthZEN's reasons have them. */
function textOf(value: JsonValue | undefined): string {
  if (typeof value === "string") return value;
  if (value === null || typeof value !== "object") return "";
  return Object.values(value).find((one) => typeof one === "string") ?? "";
}

function asObject(value: JsonValue, what: string): JsonObject {
  if (value !== null && typeof value === "object" && !Array.isArray(value)) return value;
  throw new RemoteFault("unclear", `${what} is not a JSON object`);
}

/** Errors of the connection before there was an answer: nobody is there, or it is not who it should be. */
const noConnection = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
]);

function connectionFault(error: NodeJS.ErrnoException): RemoteFault {
  const unreachable = noConnection.has(error.code ?? "");
  return new RemoteFault(unreachable ? "unreachable" : "unclear", error.message || String(error.code), {
    retryable: unreachable,
    cause: error,
  });
}
