import { readFile } from "node:fs/promises";
import { importJWK, type JSONWebKeySet, type JWK } from "jose";

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

/** One issuer whose tokens are accepted. */
export interface IssuerConfig {
  /** The exact `iss`. */
  readonly issuer: string;
  /** The `aud` that a token has to name. */
  readonly audience: string;
  /** Its public keys, or the file that has them as a JSON Web Key Set. */
  readonly jwks: JSONWebKeySet | { readonly file: string };
  /** The algorithms that it signs with; unset: all that are supported. */
  readonly algorithms?: readonly string[] | undefined;
  /** The claim that holds the caller's roles, an array of texts; unset: "roles". */
  readonly rolesClaim?: string | undefined;
  /** Its names for roles → ours; unset: the same names. */
  readonly roleNames?: Readonly<Record<string, string>> | undefined;
  /** Also accept `typ: "JWT"` and none, for issuers that do not follow RFC 9068; unset: only "at+jwt". */
  readonly plainJwt?: boolean | undefined;
}

const minRsaBits = 2048;
const privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/**
 * The issuer's key set, checked: public keys for signatures only, each with its own `kid`, none too weak. Throws an Error
 * that names the issuer, the key and what is wrong with it.
 */
export async function loadKeys(config: IssuerConfig): Promise<JSONWebKeySet> {
  const fail = (what: string): never => {
    throw new Error(`issuer ${config.issuer}: ${what}`);
  };
  const unknown = (config.algorithms ?? []).filter((name) => !supportedAlgorithms.some((known) => known === name));
  if (unknown.length > 0) fail(`algorithms: ${unknown.join(", ")}: use some of ${supportedAlgorithms.join(", ")}`);
  const jwks = "file" in config.jwks ? await readKeySet(config.jwks.file as string, fail) : config.jwks;
  if (!Array.isArray(jwks.keys) || jwks.keys.length === 0) fail("its JSON Web Key Set has no keys");
  const kids = new Set<string>();
  for (const key of jwks.keys) {
    if (typeof key.kid !== "string" || key.kid === "") fail("a key has no kid");
    if (kids.has(key.kid as string)) fail(`two keys have the kid ${key.kid}`);
    kids.add(key.kid as string);
    await checkKey(key, (what) => fail(`key ${key.kid}: ${what}`));
  }
  return jwks;
}

async function readKeySet(file: string, fail: (what: string) => never): Promise<JSONWebKeySet> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as JSONWebKeySet;
  } catch (error) {
    return fail(`cannot read its JSON Web Key Set ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function checkKey(key: JWK, fail: (what: string) => never): Promise<void> {
  if (key.kty === "oct") fail("is a shared secret: only public keys verify tokens here");
  if (privateMembers.some((member) => member in key)) fail("is a private key: keep it secret and give the public part");
  if (key.use !== undefined && key.use !== "sig") fail(`its use is ${key.use}, not sig`);
  if (key.kty === "RSA" && Buffer.from(key.n ?? "", "base64url").length * 8 < minRsaBits) {
    fail(`its RSA modulus is shorter than ${minRsaBits} bits`);
  }
  try {
    await importJWK(key, key.alg ?? algorithmOf(key));
  } catch (error) {
    fail(error instanceof Error ? error.message : String(error));
  }
}

/** An algorithm that the key could be imported for; what it may verify is decided token by token. */
function algorithmOf(key: JWK): string {
  const ofCurve: Record<string, string> = { "P-256": "ES256", "P-384": "ES384", "P-521": "ES512", Ed25519: "EdDSA" };
  return key.kty === "RSA" ? "RS256" : (ofCurve[key.crv ?? ""] ?? "unsupported");
}
