import * as z from "zod";
import { defaultRoles, permissions, type Role, type Roles, roleFaults } from "../../policy/roles.ts";
import { section, text } from "../section.ts";

const names = z.array(text());

/** Which workflows a role is good for: all that is set has to match. */
const scope = section({
  /** Only on these engines. */
  engines: names.optional(),
  /** Only these types, whole names. */
  types: names.optional(),
  /** Only those with all of these labels, each "key=value". */
  labels: names.optional(),
  /** `own`: only those of the caller's tenant; or a list of tenants. */
  tenant: z.union([z.literal("own"), names], { error: 'has to be "own", or a list of tenants' }).optional(),
});

/** Roles beside the default ones, or instead of one of the same name. */
export const roles = z
  .record(
    z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, "is no name for a role: 1 to 63 characters of a-z, 0-9, _ and -"),
    section({
      /** All that it may do. */
      permissions: z.array(z.enum(permissions)),
      scope: scope.optional(),
    }),
  )
  .superRefine((given, context) => {
    for (const { path, message } of roleFaults(given as Record<string, Role>)) {
      context.addIssue({ code: "custom", path: [...path], message });
    }
  })
  .transform((given): Roles => ({ ...defaultRoles, ...given }));
