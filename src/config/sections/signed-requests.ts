import * as z from "zod";
import type { OperatorKeysConfig } from "../../identity/operator-keys.ts";
import { permissions } from "../../policy/roles.ts";
import { parseVerifierKey, type VerifierKey } from "../../proof/verifier-key.ts";
import { section, text } from "../section.ts";

const key = z.string().transform((given, context): VerifierKey => {
  try {
    return parseVerifierKey(given);
  } catch (error) {
    context.addIssue({ code: "custom", message: `cannot be used: ${(error as Error).message}` });
    return z.NEVER;
  }
});

/** Callers who sign their control calls. */
export const signedRequests = section({
  /** Whose key it is, by the issuer and subject of their tokens; one caller may have several. */
  keys: z.array(section({ issuer: text(), subject: text(), key })).max(10_000),
  /** Who may do nothing without: callers with one of these roles, and calls that need one of these permissions. */
  required_for: section({
    roles: z.array(text()).optional(),
    permissions: z.array(z.enum(permissions)).optional(),
  }).optional(),
}).transform(
  ({ keys, required_for }): OperatorKeysConfig => ({
    keys,
    requiredRoles: required_for?.roles ?? [],
    requiredPermissions: required_for?.permissions ?? [],
  }),
);
