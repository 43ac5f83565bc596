import type { JSONWebKeySet } from "jose";

/** Algorithms that a token may be signed with: asymmetric ones only, so that no verifier's secret can sign. */
export const supportedAlgorithms = [
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
  "PS256",
  "PS384",
  "PS512",
  "RS256",
  "RS384",
  "RS512",
] as const;

/** Where a claim is: its name, or the names that lead to it from the outside in. */
export type ClaimPath = string | readonly string[];

/** One issuer whose tokens are accepted. */
export interface IssuerConfig {
  /** The exact `iss`. */
  readonly issuer: string;
  /** A token has to name one of them in its `aud`. */
  readonly audiences: readonly string[];
  /**
   * Its public keys as a JSON Web Key Set: the set itself, the file or the https URL that has it, or, by discovery, what
   * `<issuer>/.well-known/openid-configuration` names as its jwks_uri.
   */
  readonly jwks: JSONWebKeySet | { readonly file: string } | { readonly url: string } | { readonly discovery: true };
  /** PEM file with the certificate authorities that may vouch for the provider's server; unset: those that Node knows. */
  readonly caFile?: string | undefined;
  /** The algorithms that it signs with; unset: all that are supported. */
  readonly algorithms?: readonly string[] | undefined;
  /** Also accept `typ: "JWT"` and none, for issuers that do not follow RFC 9068; unset: only "at+jwt". */
  readonly plainJwt?: boolean | undefined;
  /** The longest that its tokens may live, from `iat` to `exp`; unset: 24 h. Revocations are kept that long. */
  readonly maxLifetimeS?: number | undefined;
  readonly claims?: ClaimMapping | undefined;
}

/** What is where in an issuer's tokens. */
export interface ClaimMapping {
  /** Who it is: a text; unset: "sub". `sub` is required all the same. */
  readonly subject?: ClaimPath | undefined;
  /** The token's unique id: a text; unset: "jti". */
  readonly tokenId?: ClaimPath | undefined;
  /** Roles or groups: an array of texts; unset: "roles". */
  readonly roles?: ClaimPath | undefined;
  /** Its names for roles or groups → ours; unset: the same names. */
  readonly roleNames?: Readonly<Record<string, string>> | undefined;
  /** A text; unset: nobody has a tenant. */
  readonly tenant?: ClaimPath | undefined;
  /** What people call them: a text; unset: "name". */
  readonly name?: ClaimPath | undefined;
  /**
   * Whether a person or a machine calls: all of them the same, or by a claim whose value is one of these (then the others are
   * the other kind); unset: nobody knows.
   */
  readonly kind?:
    | "person"
    | "machine"
    | { readonly claim: ClaimPath; readonly machine: readonly string[] }
    | { readonly claim: ClaimPath; readonly person: readonly string[] }
    | undefined;
}

/** How long tokens may live where the configuration says nothing, seconds. */
export const defaultMaxLifetimeS = 24 * 60 * 60;

/**
 * Throws an Error that names the issuer and what is wrong with its configuration.
 *
 * @param insecureLoopback also take keys over http, from this machine only: for development and tests.
 */
export function checkIssuer(config: IssuerConfig, insecureLoopback: boolean): void {
  const fail = (what: string): never => {
    throw new Error(`issuer ${config.issuer}: ${what}`);
  };
  if (config.issuer === "") fail("it needs a name, the exact iss of its tokens");
  if (config.audiences.length === 0 || config.audiences.includes(""))
    fail("it needs at least one audience, none empty");
  const unknown = (config.algorithms ?? []).filter((name) => !supportedAlgorithms.some((known) => known === name));
  if (unknown.length > 0 || config.algorithms?.length === 0) {
    fail(`algorithms: ${unknown.join(", ") || "none"}: use some of ${supportedAlgorithms.join(", ")}`);
  }
  if (config.maxLifetimeS !== undefined && !(config.maxLifetimeS > 0)) fail("the longest life of a token is above 0 s");
  const { jwks } = config;
  if ("discovery" in jwks) checkUrl(config.issuer, "the issuer's name", insecureLoopback, fail);
  if ("url" in jwks) checkUrl(jwks.url as string, "the URL of its keys", insecureLoopback, fail);
}

function checkUrl(text: string, what: string, insecureLoopback: boolean, fail: (what: string) => never): void {
  const fault = urlFault(text, insecureLoopback);
  if (fault !== undefined) fail(`${what} ${fault}`);
}

/** What keeps keys from being fetched from there; undefined: nothing. */
export function urlFault(text: string, insecureLoopback: boolean): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) return "is no URL";
  if (url.username !== "" || url.password !== "") return "must not carry a password";
  if (url.protocol === "https:") return undefined;
  const loopback = ["127.0.0.1", "[::1]", "localhost"].includes(url.hostname);
  if (url.protocol === "http:" && loopback && insecureLoopback) return undefined;
  return "has to begin with https://: who can change keys on their way can be anybody";
}
