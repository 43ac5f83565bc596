import type { DescMethod, DescService } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import type { GateTokens } from "../identity/gate-tokens.ts";
import { OperatorKeys } from "../identity/operator-keys.ts";
import type { Verifier } from "../identity/verify.ts";
import type { LateOutcomes } from "../ledger/late-outcomes.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Refusals } from "../ledger/refusals.ts";
import type { Logger } from "../log.ts";
import type { Access } from "../policy/access.ts";
import type { Policy } from "../policy/policy.ts";
import { auditIntentLink } from "./audit-intent.ts";
import { auditOutcomeLink } from "./audit-outcome.ts";
import { authenticateLink, authenticator } from "./authenticate.ts";
import { authorize, authorizeLink } from "./authorize.ts";
import type { Call } from "./context.ts";
import { errorLink } from "./errors.ts";
import { assertGoverned } from "./governance.ts";
import { type Ended, logLink } from "./log.ts";
import { policyLink } from "./policy.ts";
import { requestIdLink } from "./request-id.ts";
import { signatureLink } from "./signature.ts";
import { type ResolveBrake, type ResolveTarget, targetLink } from "./target.ts";
import { validateLink } from "./validate.ts";

/** What the links need. */
export interface ChainDeps {
  /** All services that are served through the chain. */
  readonly services: readonly DescService[];
  readonly log: Logger;
  readonly ledger: Ledger;
  readonly refusals: Refusals;
  readonly lateOutcomes: LateOutcomes;
  readonly verifier: Pick<Verifier, "verify" | "onDoubt">;
  readonly gateTokens: Pick<GateTokens, "verify" | "onDoubt">;
  /** By default nobody signs anything. */
  readonly operatorKeys?: OperatorKeys;
  readonly access: Access;
  readonly policy: Policy;
  readonly resolveTarget: ResolveTarget;
  readonly resolveBrake: ResolveBrake;
  /** Counts calls; by default nobody does. */
  readonly ended?: Ended;
}

/** One link of the chain. */
export interface Link {
  readonly name: string;
  readonly interceptor: Interceptor;
}

/**
 * What every call of every protocol goes through, the outermost first, unary and streaming alike.
 *
 * @throws Error where a method of the services lacks its governance option: such a server must not start.
 */
export function createChain(deps: ChainDeps): readonly Link[] {
  assertGoverned(deps.services);
  const { verifier, gateTokens } = deps;
  const onDoubt = (listener: () => void) => {
    const stop = [verifier.onDoubt(listener), gateTokens.onDoubt(listener)];
    return () => {
      for (const one of stop) one();
    };
  };
  const still = (call: Call, method: DescMethod) => authorize(deps.access, call, method);
  return [
    { name: "requestId", interceptor: requestIdLink() },
    { name: "log", interceptor: logLink(deps.log, deps.ended ?? (() => undefined)) },
    { name: "errors", interceptor: errorLink(deps.log) },
    { name: "auditOutcome", interceptor: auditOutcomeLink(deps.ledger, deps.refusals, deps.lateOutcomes, deps.log) },
    {
      name: "authenticate",
      interceptor: authenticateLink(authenticator(verifier.verify, gateTokens), still, onDoubt),
    },
    { name: "authorize", interceptor: authorizeLink(deps.access) },
    { name: "validate", interceptor: validateLink(deps.services) },
    { name: "signature", interceptor: signatureLink(deps.operatorKeys ?? new OperatorKeys()) },
    { name: "target", interceptor: targetLink(deps.resolveTarget, deps.access, deps.resolveBrake) },
    { name: "policy", interceptor: policyLink(deps.policy) },
    { name: "auditIntent", interceptor: auditIntentLink(deps.ledger) },
  ];
}
