import type { DescMethod } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import { MissionControlError } from "../errors.ts";
import type { Principal } from "../identity/principal.ts";
import type { Access } from "../policy/access.ts";
import type { Reach } from "../policy/reach.ts";
import { rolesWith } from "../policy/roles.ts";
import { type Call, callOf } from "./context.ts";
import { governanceOf } from "./governance.ts";

/** May a caller of these roles use this RPC at all, and on which workflows? What is beyond these does not exist for them. */
export function authorizeLink(access: Access): Interceptor {
  return (next) => async (req) => {
    authorize(access, callOf(req.contextValues), req.method);
    return next(req);
  };
}

/**
 * Puts what the caller reaches with the RPC's permission into the call. Throws ROLE_DENIED where none of their roles has it,
 * or, while a stream runs, where they reach something else by now.
 */
export function authorize(access: Access, call: Call, method: DescMethod): void {
  const principal = principalOf(call);
  const { permission } = governanceOf(method);
  const reach = access.reach(principal, permission);
  const metadata = { permission, roles: principal.roles.join(",") };
  if (reach === undefined) {
    const held = principal.roles.length === 0 ? "no role that is known here" : `the role ${principal.roles.join(", ")}`;
    const roles = rolesWith(access.roles, permission);
    const ownTenant = roles.some((role) => principal.roles.includes(role))
      ? ", which is good for the tenant of the token, and it names none"
      : "";
    throw new MissionControlError(
      "ROLE_DENIED",
      `${method.name} needs the permission ${permission}, and ${principal.subject} has ${held}${ownTenant}: ask for the role ${roles.join(" or ")}`,
      { metadata },
    );
  }
  if (call.reach !== undefined && call.reach.key !== reach.key) {
    throw new MissionControlError("ROLE_DENIED", "the scope of your roles has changed: call again", { metadata });
  }
  call.reach = reach;
}

/** The caller; throws where no link before this one has found out who it is. */
export function principalOf(call: Call): Principal {
  if (call.principal === undefined) throw new Error("a call came past authentication without a principal");
  return call.principal;
}

/** What the caller reaches with the RPC's permission; throws where no link before this one has found out. */
export function reachOf(call: Call): Reach {
  if (call.reach === undefined) throw new Error("a call came past authorization without its reach");
  return call.reach;
}
