import type { Message } from "@bufbuild/protobuf";
import { type ContextValues, createContextKey } from "@connectrpc/connect";
import type { Decision } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Workflow, Workflow_Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Principal } from "../identity/principal.ts";
import type { BrakeFacts } from "../policy/policy.ts";
import type { Reach } from "../policy/reach.ts";
import type { Change } from "../store/store.ts";

/**
 * One call, from its arrival to its last entry. Made at the port, filled in by the links of the chain in their order; a
 * service finds here who calls and what was decided.
 */
export interface Call {
  /** x-request-id: the caller's where it is sane, else a new one. In the answer, the log and the ledger. */
  readonly id: string;
  readonly protocol: "grpc" | "grpc-web" | "connect" | "rest";
  /** "package.Service/Method", or the HTTP method and path where no RPC was reached. */
  method: string;
  /** ms since the epoch. */
  readonly startTime: number;
  /** The caller's network address. */
  readonly source: string;
  /**
   * The SHA-256 over the DER of the TLS client certificate, as base64url (`x5t#S256` of RFC 8705); undefined where the
   * connection has none. It is verified: a certificate of other authorities than the configured ones gets no connection.
   */
  readonly clientCertificateThumbprint: string | undefined;
  principal?: Principal;
  /** The workflows that the caller reaches with the RPC's permission. */
  reach?: Reach;
  /** The request's one message, once it was read and found valid; never set where the client streams. */
  request?: Message;
  /** The digest of a control call's request, without its secrets: what the caller signs and the ledger keeps. */
  requestDigest?: Uint8Array;
  /** The caller's signature over the request, checked: a signed note. */
  signature?: string;
  decision?: Decision;
  /** The workflow that the request names, as looked up for the policy. */
  target?: Workflow;
  /** What policy is told of the brake that the call engages, approves or releases. */
  brake?: BrakeFacts;
  /** What the caller's program says that it is (user-agent). */
  client?: string;
  /** The INTENT or READ entry. */
  entryId?: string;
  /** True once the ledger knows of the call: an entry of any phase is durable. */
  audited: boolean;
  /** Why the ledger could not be told of the call: that is its answer, and nobody tries once more and keeps the caller waiting. */
  unrecordable?: unknown;
  /** What the service observed at the end: goes into the OUTCOME entry. */
  observedStatus?: Workflow_Status;
  /** The brake that the call was about. */
  brakeId?: string;
  /** What commits together with the OUTCOME entry. */
  also?: Pick<Change, "answers">;
}

/** The call that is being served. Set by the port for every request; reading it elsewhere than below the chain is a defect. */
export const callKey = createContextKey<Call | undefined>(undefined, { description: "call" });

/** The call of these context values. Throws where the port has set none: such a call could not be recorded. */
export function callOf(values: ContextValues): Call {
  const call = values.get(callKey);
  if (call === undefined) throw new Error("a call reached the chain without its context");
  return call;
}
