import { request } from "node:http";

/** An HTTP answer, read in full. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

const maxBodyBytes = 8 << 20;

/**
 * One HTTP request over a unix socket, with a JSON body where one is given. Rejects where nobody answers, where the answer
 * is larger than 8 MiB, and when the signal is aborted.
 */
export function unixRequest(
  socketPath: string,
  method: "GET" | "POST" | "PATCH" | "DELETE",
  path: string,
  options: { body?: unknown; signal: AbortSignal },
): Promise<HttpAnswer> {
  const { body, signal } = options;
  return new Promise((resolve, reject) => {
    const headers = {
      accept: "application/json",
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    };
    const call = request({ socketPath, method, path, headers, signal }, (answer) => {
      const chunks: Buffer[] = [];
      let size = 0;
      answer.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxBodyBytes) answer.destroy(new Error(`The answer to ${method} ${path} is larger than 8 MiB.`));
        else chunks.push(chunk);
      });
      answer.once("end", () =>
        resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") }),
      );
      answer.once("error", reject);
    });
    call.once("error", reject);
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
