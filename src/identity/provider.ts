import { readFile } from "node:fs/promises";
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { urlFault } from "./issuer.ts";

/** What a provider's answer may be at the most: bytes, headers' bytes, and ms from the request to its last byte. */
const limits = { bytes: 256 * 1024, headerBytes: 16 * 1024, ms: 5_000 } as const;

/** How a provider is reached. */
export interface Reach {
  /** PEM file with the certificate authorities that may vouch for it; unset: those that Node knows. */
  readonly caFile?: string | undefined;
  /** Also take http from this machine. */
  readonly insecureLoopback: boolean;
  readonly signal: AbortSignal;
}

/** The JSON Web Key Set at the URL. Rejects with an Error that says what was wrong with the answer. */
export async function fetchKeySet(url: string, reach: Reach): Promise<unknown> {
  return getJson(url, reach);
}

/**
 * The JSON Web Key Set of a provider that is found by OpenID Connect Discovery 1.0. The document has to name the very issuer
 * that it was asked about, else another tenant's keys could stand in.
 */
export async function discoverKeySet(issuer: string, reach: Reach): Promise<unknown> {
  const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const found = (await getJson(url, reach)) as { issuer?: unknown; jwks_uri?: unknown } | null;
  if (found?.issuer !== issuer) throw new Error(`${url} is about another issuer: write the issuer exactly as it does`);
  const { jwks_uri: keys } = found;
  if (typeof keys !== "string") throw new Error(`${url} names no jwks_uri`);
  const fault = urlFault(keys, reach.insecureLoopback);
  if (fault !== undefined) throw new Error(`${url}: its jwks_uri ${fault}`);
  return getJson(keys, reach);
}

/**
 * Not fetch(): that decodes brotli even where nobody asked for it, and this Node's decoder has a memory-safety advisory. No
 * answer is decoded here, none is followed elsewhere.
 */
async function getJson(url: string, { caFile, signal }: Reach): Promise<unknown> {
  const request = url.startsWith("https:") ? requestHttps : requestHttp;
  const ca = caFile === undefined ? undefined : await readFile(caFile);
  const late = AbortSignal.timeout(limits.ms);
  try {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    request(url, {
      headers: { accept: "application/json", "accept-encoding": "identity" },
      maxHeaderSize: limits.headerBytes,
      agent: false,
      signal: AbortSignal.any([signal, late]),
      ...(ca && { ca }),
    })
      .once("response", resolve)
      .on("error", reject)
      .end();
    const response = await promise;
    return JSON.parse(await textOf(response));
  } catch (error) {
    if (late.aborted) throw new Error(`${url} did not answer within ${limits.ms} ms`);
    // A parser's message would repeat what came.
    if (error instanceof SyntaxError) throw new Error(`${url} did not answer with JSON`);
    throw new Error(`${url}: ${error instanceof Error ? error.message || error.name : String(error)}`);
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  try {
    const { statusCode = 0 } = response;
    if (statusCode >= 300 && statusCode < 400)
      throw new Error("it leads elsewhere, which is not followed: name that URL");
    if (statusCode !== 200) throw new Error(`it answered with status ${statusCode}`);
    const encoding = response.headers["content-encoding"] ?? "identity";
    if (encoding !== "identity") throw new Error("it answered compressed, though it was asked not to");
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limits.bytes) throw new Error(`its answer is longer than ${limits.bytes} bytes`);
      chunks.push(chunk);
    }
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } finally {
    response.destroy();
  }
}
