import type { Canary } from "../drill.ts";

const limits = { startMs: 10_000, answerBytes: 64 * 1024 } as const;

/**
 * A canary that a POST to the engine's ingress starts, which is answered with its `invocationId`, as Restate answers to
 * `/Service/handler/send`. A redirect is not followed: it could lead anywhere.
 */
export function ingressCanary({ engine, startUrl }: { readonly engine: string; readonly startUrl: string }): Canary {
  return {
    engine,
    async start(signal) {
      const answer = await fetch(startUrl, {
        method: "POST",
        redirect: "error",
        signal: AbortSignal.any([signal, AbortSignal.timeout(limits.startMs)]),
      });
      const text = await bounded(answer);
      if (!answer.ok) throw new Error(`POST ${startUrl} was answered ${answer.status}: ${text.slice(0, 200)}`);
      const id = invocationIdIn(text);
      if (id === undefined) throw new Error(`POST ${startUrl} was answered without an invocationId`);
      return id;
    },
  };
}

async function bounded(answer: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of answer.body ?? []) {
    size += part.length;
    if (size > limits.answerBytes) throw new Error(`an answer of more than ${limits.answerBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function invocationIdIn(text: string): string | undefined {
  try {
    const { invocationId } = JSON.parse(text) as { invocationId?: unknown };
    return typeof invocationId === "string" && invocationId !== "" ? invocationId : undefined;
  } catch {
    return undefined;
  }
}
