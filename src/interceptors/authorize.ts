import type { DescMethod } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import { MissionControlError } from "../errors.ts";
import type { Principal } from "../identity/principal.ts";
import { permits, type Roles, rolesWith } from "../policy/roles.ts";
import { type Call, callOf } from "./context.ts";
import { governanceOf } from "./governance.ts";

/** May a caller of these roles use this RPC at all? */
export function authorizeLink(roles: Roles): Interceptor {
  return (next) => async (req) => {
    authorize(roles, callOf(req.contextValues), req.method);
    return next(req);
  };
}

/** Throws ROLE_DENIED where none of the caller's roles has the permission that the RPC needs. */
export function authorize(roles: Roles, call: Call, method: DescMethod): void {
  const principal = principalOf(call);
  const { permission } = governanceOf(method);
  if (permits(roles, principal.roles, permission)) return;
  const held = principal.roles.length === 0 ? "no role that is known here" : `the role ${principal.roles.join(", ")}`;
  throw new MissionControlError(
    "ROLE_DENIED",
    `${method.name} needs the permission ${permission}, and ${principal.subject} has ${held}: ask for the role ${rolesWith(roles, permission).join(" or ")}`,
    { metadata: { permission, roles: principal.roles.join(",") } },
  );
}

/** The caller; throws where no link before this one has found out who it is. */
export function principalOf(call: Call): Principal {
  if (call.principal === undefined) throw new Error("a call came past authentication without a principal");
  return call.principal;
}
