import * as z from "zod";
import { type IssuerConfig, supportedAlgorithms } from "../../identity/issuer.ts";
import { duration, path, section, text } from "../section.ts";

const keySources = ["jwks_file", "jwks_url", "discovery"] as const;

/** Whose tokens are accepted. */
export function identity(baseDir: string) {
  const texts = (most: number) => z.array(text()).min(1).max(most);
  const claim = z.union([text(), texts(8)], "has to be a claim's name, or a list of names that lead to it");
  const issuer = section({
    /** The exact `iss` of its tokens. */
    issuer: text(),
    /** The `aud` that its tokens have to name, or several of which they have to name one. */
    audience: z.union([text().transform((one) => [one]), texts(16)], {
      error: ({ input }) => `${input === undefined ? "is missing: it " : ""}has to be a text, or a list of texts`,
    }),
    /** Its public keys, a JSON Web Key Set: in a file, at a URL, or where OpenID Connect Discovery finds them. */
    jwks_file: path(baseDir).optional(),
    jwks_url: text().optional(),
    discovery: z.literal(true).optional(),
    /** PEM file with the authorities that vouch for the provider's server; by default those that Node knows. */
    ca_file: path(baseDir).optional(),
    /** The algorithms that it signs with; by default all that are supported. */
    algorithms: z.array(z.enum(supportedAlgorithms)).min(1).optional(),
    /** Also accept tokens that are not typed at+jwt (RFC 9068). */
    plain_jwt: z.boolean().optional(),
    /** The longest that its tokens may live; revocations are kept that long. */
    longest_life: duration("1m", "400d").optional(),
    /** Where what is in its tokens: a claim, or the names that lead to one. By default sub, jti, roles, name, and no tenant. */
    subject_claim: claim.optional(),
    token_id_claim: claim.optional(),
    roles_claim: claim.optional(),
    name_claim: claim.optional(),
    tenant_claim: claim.optional(),
    /** Its names for roles or groups → the roles of here; by default the same names. */
    role_names: z.record(text(), text()).optional(),
    /** Whether its callers are people or machines: all of them the same, or by the values of a claim. */
    kind: z
      .union(
        [z.enum(["person", "machine"]), section({ claim, machine: texts(64) }), section({ claim, person: texts(64) })],
        "has to be person, machine, or a claim with the values that say one of them: { claim: …, machine: […] }",
      )
      .optional(),
  })
    .refine((given) => keySources.filter((source) => given[source] !== undefined).length === 1, {
      path: ["jwks_file"],
      error: "is missing, or jwks_url, or discovery: true; one of the three, and not two, says where its keys are",
      // Told beside what else is wrong, too.
      when: () => true,
    })
    .transform(
      (given): IssuerConfig => ({
        issuer: given.issuer,
        audiences: given.audience,
        jwks: keysOf(given),
        caFile: given.ca_file,
        algorithms: given.algorithms,
        plainJwt: given.plain_jwt,
        maxLifetimeS: given.longest_life === undefined ? undefined : given.longest_life / 1000,
        claims: {
          subject: given.subject_claim,
          tokenId: given.token_id_claim,
          roles: given.roles_claim,
          roleNames: given.role_names,
          tenant: given.tenant_claim,
          name: given.name_claim,
          kind: given.kind,
        },
      }),
    );
  return section({
    /** Each with a name of its own. */
    issuers: z.array(issuer).max(32),
    /** A file with tokens that are refused though they have not expired; it is read again when it changes. */
    revocation_file: path(baseDir).optional(),
  });
}

function keysOf(given: {
  readonly jwks_file?: string | undefined;
  readonly jwks_url?: string | undefined;
}): IssuerConfig["jwks"] {
  if (given.jwks_file !== undefined) return { file: given.jwks_file };
  return given.jwks_url === undefined ? { discovery: true } : { url: given.jwks_url };
}
