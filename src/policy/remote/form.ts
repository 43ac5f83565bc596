import type { PolicyQuestion } from "../policy.ts";

/** What a remote may say at the most; longer texts are cut, further policies left out. */
const limits = { message: 1024, policyId: 256, policyIds: 32, cacheMs: 60_000 } as const;

/** A remote's answer to one question, already known to be one of the two that there may be. */
export interface RemoteAnswer {
  readonly allowed: boolean;
  readonly message: string;
  readonly policyIds: readonly string[];
  /** For how long it is good for the same question, ms; 0: for this time only. */
  readonly cacheMs: number;
}

/** How a remote is spoken to: gRPC (grpc.ts) or AuthZEN over HTTPS (authzen.ts). */
export interface RemoteForm {
  /** How many questions one request may carry. */
  readonly batchSize: number;
  /** One request. Rejects with RemoteFault, or with what the signal was aborted for. As many answers as questions. */
  ask(questions: readonly PolicyQuestion[], signal: AbortSignal): Promise<RemoteAnswer[]>;
  /** Drops what connections there are: the next request opens its own. */
  reset(): void;
}

/** Where a remote is, and how to prove to each other who is who. */
export interface RemoteAddress {
  /** https://…; http:// only where configuration says so. A path in front of the form's own is kept. */
  readonly url: URL;
  /** PEM: whom its certificate has to be from; by default the authorities that Node knows. */
  readonly ca?: string | undefined;
  /** PEM: our certificate and its key, where it asks for one. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** A file with a bearer token, read anew for each request; none: no Authorization header. */
  readonly tokenFile?: string | undefined;
}

/** What a remote said, within bounds and as printable text. */
export function answer(allowed: boolean, message: string, policyIds: readonly string[], cacheMs: number): RemoteAnswer {
  return {
    allowed,
    message: printable(message, limits.message),
    policyIds: policyIds.slice(0, limits.policyIds).map((id) => printable(id, limits.policyId)),
    cacheMs: Number.isFinite(cacheMs) ? Math.floor(Math.min(Math.max(0, cacheMs), limits.cacheMs)) : 0,
  };
}

function printable(text: string, length: number): string {
  return text
    .slice(0, length)
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}]+/gu, " ")
    .trim();
}
