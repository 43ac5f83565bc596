import type { Interceptor } from "@connectrpc/connect";
import type { OperatorKeys } from "../identity/operator-keys.ts";
import { requestDigest } from "../proof/request-digest.ts";
import { withoutSecrets } from "../proof/secrets.ts";
import { signatureHeader } from "../proof/signed-request.ts";
import { principalOf } from "./authorize.ts";
import { callOf } from "./context.ts";
import { governanceOf } from "./governance.ts";

/** Is a control call signed by its caller, where it says so or has to be? The signature goes into the INTENT entry. */
export function signatureLink(operatorKeys: OperatorKeys): Interceptor {
  return (next) => async (req) => {
    const call = callOf(req.contextValues);
    const { audit, permission } = governanceOf(req.method);
    if (audit === "CONTROL" && call.request !== undefined) {
      call.requestDigest = requestDigest(req.method.input, withoutSecrets(req.method.input, call.request));
      const note = operatorKeys.verify({
        principal: principalOf(call),
        method: call.method,
        permission,
        digest: call.requestDigest,
        header: req.header.get(signatureHeader),
      });
      if (note !== undefined) call.signature = note;
    }
    return next(req);
  };
}
