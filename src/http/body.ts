import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { MissionControlError } from "../errors.ts";
import type { NodeRequest } from "./exchange.ts";

const gunzipBounded = promisify<Buffer, { maxOutputLength: number }, Buffer>(gunzip);

/**
 * The body of a request, as it comes in. Leaving it early does not tear the connection down, so that an answer can still be
 * given. Where `bodyMs` is given, the whole body has to be there within it.
 */
export async function* readBody(req: NodeRequest, bodyMs?: number): AsyncGenerator<Uint8Array> {
  const body = req.iterator({ destroyOnReturn: false });
  if (bodyMs === undefined) return yield* body;
  const late = Promise.withResolvers<never>();
  late.promise.catch(() => {});
  const timer = setTimeout(() => {
    const message = `the request's body was not complete after ${bodyMs} ms: send it faster`;
    late.reject(new MissionControlError("REQUEST_TIMEOUT", message));
  }, bodyMs);
  try {
    for (;;) {
      const step = await Promise.race([body.next(), late.promise]);
      if (step.done) return;
      yield step.value;
    }
  } finally {
    clearTimeout(timer);
    // Not awaited: where the body is late, it would wait for more of it.
    void body.return?.();
  }
}

/** The whole body, decompressed: gzip or nothing. Neither form of it may be larger than `maxBytes`. */
export async function readWholeBody(
  req: NodeRequest,
  encoding: string | null,
  limits: { requestBytes: number; bodyMs: number },
): Promise<Buffer> {
  const zipped = encoding !== null && encoding.toLowerCase() !== "identity";
  if (zipped && encoding.toLowerCase() !== "gzip") {
    throw new MissionControlError(
      "UNSUPPORTED_ENCODING",
      `content-encoding "${encoding.slice(0, 64)}" is not understood here: send the body with gzip or without any`,
    );
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of readBody(req, limits.bodyMs)) {
    size += chunk.byteLength;
    if (size > limits.requestBytes) throw tooLarge(limits.requestBytes);
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks, size);
  if (!zipped) return body;
  try {
    return await gunzipBounded(body, { maxOutputLength: limits.requestBytes });
  } catch (error) {
    if ((error as { code?: string }).code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(limits.requestBytes);
    throw new MissionControlError("INVALID_ARGUMENT", "the body is not the gzip that content-encoding announces", {
      cause: error,
    });
  }
}

function tooLarge(maxBytes: number): MissionControlError {
  return new MissionControlError("MESSAGE_TOO_LARGE", `the request's body is larger than ${maxBytes} bytes`, {
    metadata: { max_bytes: String(maxBytes) },
  });
}
