import { randomUUID } from "node:crypto";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { type CheckPolicyResponse, ContextualPolicy } from "../../../gen/kos/policy/v1/contextual_policy_pb.ts";
import { brakeFacts, callFacts, userFacts, workflowFacts } from "../facts.ts";
import type { PolicyQuestion } from "../policy.ts";
import { RemoteFault } from "./fault.ts";
import { answer, type RemoteAddress, type RemoteAnswer, type RemoteForm } from "./form.ts";
import { PolicySession } from "./session.ts";
import { authorizationFrom } from "./token.ts";

const maxAnswerBytes = 64 * 1024;
/** A connection that carried nothing for this long is tried with a PING first, which may take this long, ms. */
const ping = { intervalMs: 5_000, timeoutMs: 100 } as const;

/** K-OS over gRPC: `kos.policy.v1.ContextualPolicy`, on one connection that is kept. */
export class GrpcForm implements RemoteForm {
  readonly batchSize = 1;
  readonly #address: RemoteAddress;
  readonly #session: PolicySession;
  readonly #client: Client<typeof ContextualPolicy>;

  constructor(address: RemoteAddress) {
    this.#address = address;
    const { url, ca, cert, key } = address;
    this.#session = new PolicySession(
      url.origin,
      { pingIntervalMs: ping.intervalMs, pingTimeoutMs: ping.timeoutMs },
      { ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) },
    );
    const transport = createGrpcTransport({
      baseUrl: url.href,
      sessionManager: this.#session,
      readMaxBytes: maxAnswerBytes,
      // Nothing is decompressed of what a stranger may send in its place.
      acceptCompression: [],
    });
    this.#client = createClient(ContextualPolicy, transport);
  }

  async ask([question]: readonly PolicyQuestion[], signal: AbortSignal): Promise<RemoteAnswer[]> {
    if (question === undefined) return [];
    const requestId = randomUUID();
    const authorization = await authorizationFrom(this.#address.tokenFile);
    const { action, principal, workflow, brake } = question;
    try {
      const response = await this.#client.checkPolicy(
        {
          action,
          userId: principal.subject,
          userRole: [...principal.roles].sort().join(","),
          context: {
            user: userFacts(question),
            ...(workflow && { workflow: workflowFacts(workflow) }),
            ...(brake && { brake: brakeFacts(brake) }),
            ...callFacts(question),
          },
          requestId,
        },
        { signal, headers: { ...(authorization !== undefined && { authorization }) } },
      );
      return [answerOf(response, requestId)];
    } catch (error) {
      throw signal.aborted ? signal.reason : fault(error);
    }
  }

  reset(): void {
    this.#session.abort();
  }
}

function answerOf(response: CheckPolicyResponse, requestId: string): RemoteAnswer {
  if (response.requestId !== "" && response.requestId !== requestId) {
    throw new RemoteFault("unclear", "its answer is to another question (request_id)");
  }
  const { allowed, message, policyIds, cacheFor } = response;
  return answer(allowed, message, policyIds, cacheFor === undefined ? 0 : durationMs(cacheFor));
}

function fault(error: unknown): RemoteFault {
  if (error instanceof RemoteFault) return error;
  const { code, rawMessage, cause } = ConnectError.from(error);
  const isCertificate =
    cause instanceof Error && /CERT|TLS|SSL|EPROTO/.test(String((cause as NodeJS.ErrnoException).code));
  const unreachable = (code === Code.Unavailable || code === Code.DeadlineExceeded) && !isCertificate;
  return new RemoteFault(unreachable ? "unreachable" : "unclear", `${codeName(code)}: ${rawMessage}`, {
    retryable: code === Code.Unavailable && !isCertificate,
    cause: error,
  });
}

/** "FailedPrecondition" as gRPC writes it: "FAILED_PRECONDITION". */
function codeName(code: Code): string {
  return Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
