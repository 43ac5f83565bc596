import { once } from "node:events";
import http from "node:http";
import https, { type RequestOptions } from "node:https";

/** Characters of an answer that are read. */
const maxAnswer = 64 * 1024;

/**
 * Posts a text and reads what is answered. Not by fetch(), which decodes whatever an answer says that it is encoded with. No
 * redirect is followed, no connection kept. Rejects where there is no answer, or one without an end.
 */
export async function post(
  url: URL,
  body: string,
  options: Pick<RequestOptions, "headers" | "ca"> & { readonly signal: AbortSignal },
): Promise<{ status: number; text: string }> {
  const { request } = url.protocol === "https:" ? https : http;
  const headers = { "content-length": Buffer.byteLength(body), ...options.headers };
  const call = request(url, { ...options, method: "POST", agent: false, headers });
  const answered = once(call, "response", { signal: options.signal });
  call.end(body);
  const [answer] = (await answered) as [http.IncomingMessage];
  let text = "";
  for await (const chunk of answer.setEncoding("utf8")) {
    text += chunk;
    if (text.length > maxAnswer) throw new Error("the answer has no end");
  }
  return { status: answer.statusCode ?? 0, text };
}
