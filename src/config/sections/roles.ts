import * as z from "zod";
import { defaultRoles, permissions, type Roles } from "../../policy/roles.ts";
import { section } from "../section.ts";

/** Roles beside the default ones, or instead of one of the same name. */
export const roles = z
  .record(
    z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, "is no name for a role: 1 to 63 characters of a-z, 0-9, _ and -"),
    section({
      /** All that it may do. */
      permissions: z.array(z.enum(permissions)),
    }),
  )
  .transform((given): Roles => {
    const own = Object.entries(given).map(([name, role]) => [name, role.permissions] as const);
    return { ...defaultRoles, ...Object.fromEntries(own) };
  });
