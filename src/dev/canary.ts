import type { Canary } from "../brakes/drill.ts";
import { unixRequest } from "./unix-http.ts";

/** The sample agent `Canary`, started through the embedded engine's ingress. */
export function sampleCanary(engine: string, ingressSocket: string): Canary {
  return {
    engine,
    async start(signal) {
      const answer = await unixRequest(ingressSocket, "POST", "/Canary/run/send", { signal });
      if (answer.status >= 300) {
        throw new Error(`POST /Canary/run/send was answered ${answer.status}: ${answer.body.slice(0, 200)}`);
      }
      return (JSON.parse(answer.body) as { invocationId: string }).invocationId;
    },
  };
}
