import type { Principal } from "../identity/principal.ts";
import type { Scope } from "../store/brake.ts";
import { Reach } from "./reach.ts";
import { defaultTenantLabel, type Permission, type RoleScope, type Roles, roleFaults } from "./roles.ts";

/** One role of a caller's that gives a permission, and what it reaches. */
export interface Grant {
  readonly role: string;
  readonly reach: Reach;
}

/** Who may what, and on which workflows: by the roles alone, before policy is asked. */
export class Access {
  readonly roles: Roles;
  readonly #tenantLabel: string;
  /** Principals come once for each token, and are asked about at every call. */
  readonly #known = new WeakMap<Principal, Map<string, Reach | undefined>>();

  /**
   * @param options.tenantLabel the label that names a workflow's tenant.
   * @param options.engines the configured names; unset: whatever the scopes name.
   * @throws Error that names every fault of the roles: such a server must not start.
   */
  constructor(
    roles: Roles,
    options: { readonly tenantLabel?: string | undefined; readonly engines?: readonly string[] | undefined } = {},
  ) {
    const { tenantLabel = defaultTenantLabel, engines } = options;
    const faults = roleFaults(roles, engines).map(({ path, message }) => `roles.${path.join(".")}: ${message}`);
    if (faults.length > 0) throw new Error(`the roles cannot be used:\n  ${faults.join("\n  ")}`);
    this.roles = roles;
    this.#tenantLabel = tenantLabel;
  }

  /**
   * Where the caller has the permission: permission and scope come from the same role, and several roles add up. Undefined
   * where no role gives it at all.
   */
  reach(principal: Principal, permission: string): Reach | undefined {
    const known = this.#known.get(principal) ?? new Map<string, Reach | undefined>();
    this.#known.set(principal, known);
    if (known.has(permission)) return known.get(permission);
    const reach = this.#reach(principal, permission);
    known.set(permission, reach);
    return reach;
  }

  /** What the caller may see at all. */
  sight(principal: Principal): Reach {
    return this.reach(principal, "workflows.read" satisfies Permission) ?? new Reach([]);
  }

  /** The caller's roles that give the permission, each with its own reach; those that reach nothing are left out. */
  grants(principal: Principal, permission: string): Grant[] {
    return principal.roles.flatMap((name) => {
      const role = Object.hasOwn(this.roles, name) ? this.roles[name] : undefined;
      if (!role?.permissions.some((given) => given === permission)) return [];
      const scopes = role.scope && this.#scopes(role.scope, principal);
      // Good for the tenant of a token that names none: good for nothing.
      return scopes?.length === 0 ? [] : [{ role: name, reach: new Reach(scopes) }];
    });
  }

  #reach(principal: Principal, permission: string): Reach | undefined {
    const [first, ...more] = this.grants(principal, permission).map(({ reach }) => reach);
    return first && more.reduce((sum, reach) => sum.or(reach), first);
  }

  /** One for each tenant: a workflow has one. */
  #scopes({ engines, types, labels, tenant }: RoleScope, principal: Principal): Scope[] {
    const pairs = labels?.map((label) => [label.slice(0, label.indexOf("=")), label.slice(label.indexOf("=") + 1)]);
    const own: Record<string, string> | undefined = pairs && Object.fromEntries(pairs);
    const scope = (more?: Record<string, string>): Scope => ({
      ...(engines && { engines }),
      ...(types && { types }),
      ...((own || more) && { labels: { ...own, ...more } }),
    });
    if (tenant === undefined) return [scope()];
    const tenants = tenant === "own" ? (principal.tenant ? [principal.tenant] : []) : tenant;
    // A label that is asked for with another value has no workflow with this one.
    const wanted = own !== undefined && Object.hasOwn(own, this.#tenantLabel) ? own[this.#tenantLabel] : undefined;
    return tenants
      .filter((one) => wanted === undefined || wanted === one)
      .map((one) => scope({ [this.#tenantLabel]: one }));
  }
}
