import * as z from "zod";
import { type IssuerConfig, supportedAlgorithms } from "../../identity/issuer.ts";
import { path, section, text } from "../section.ts";

/** Whose tokens are accepted. */
export function identity(baseDir: string) {
  const issuer = section({
    /** The exact `iss` of its tokens. */
    issuer: text(),
    /** The `aud` that its tokens have to name. */
    audience: text(),
    /** The file with its public keys, a JSON Web Key Set. */
    jwks_file: path(baseDir),
    /** The algorithms that it signs with; by default all that are supported. */
    algorithms: z.array(z.enum(supportedAlgorithms)).min(1).optional(),
    /** The claim with the caller's roles; "roles" by default. */
    roles_claim: text().optional(),
    /** Its names for roles → those of here; by default the same names. */
    role_names: z.record(text(), text()).optional(),
    /** Also accept tokens that are not typed at+jwt (RFC 9068). */
    plain_jwt: z.boolean().optional(),
  }).transform(
    (given): IssuerConfig => ({
      issuer: given.issuer,
      audience: given.audience,
      jwks: { file: given.jwks_file },
      algorithms: given.algorithms,
      rolesClaim: given.roles_claim,
      roleNames: given.role_names,
      plainJwt: given.plain_jwt,
    }),
  );
  return section({
    /** Each with a name of its own. */
    issuers: z.array(issuer).max(32),
  });
}
