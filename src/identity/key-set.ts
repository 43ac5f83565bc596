import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  importJWK,
  type JSONWebKeySet,
  type JWK,
  type JWTVerifyGetKey,
} from "jose";

/** Public keys of one issuer, each fit to verify signatures. */
export interface KeySet {
  /** Finds the key that a token's header names. */
  readonly find: JWTVerifyGetKey;
  /** kid → which key it is: the RFC 7638 thumbprint, with the algorithm that it is bound to. */
  readonly prints: ReadonlyMap<string, string>;
}

const minRsaBits = 2048;
const maxKeys = 100;
const maxKidLength = 256;
const privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/** A key set, all of whose keys have to be fit. Throws an Error that names the key and what is wrong with it. */
export async function strictKeySet(jwks: unknown): Promise<KeySet> {
  return keySet(jwks, (key, fault) => {
    throw new Error(`key ${key.kid}: ${fault}`);
  });
}

/**
 * The keys of a provider's set that are fit to verify tokens: providers publish keys for other purposes too. What is told of
 * the others is for the log. Throws an Error where none is left.
 */
export async function providerKeySet(jwks: unknown): Promise<KeySet & { readonly unfit: readonly string[] }> {
  const unfit: string[] = [];
  const set = await keySet(jwks, (key, fault) => unfit.push(`${String(key.kid).slice(0, 64)}: ${fault}`));
  return { ...set, unfit };
}

async function keySet(jwks: unknown, refuse: (key: JWK, fault: string) => void): Promise<KeySet> {
  const { keys } = (jwks ?? {}) as Partial<JSONWebKeySet>;
  if (!Array.isArray(keys) || keys.length === 0) throw new Error("its JSON Web Key Set has no keys");
  if (keys.length > maxKeys) throw new Error(`its JSON Web Key Set has more than ${maxKeys} keys`);
  const fit = new Map<string, JWK>();
  const prints = new Map<string, string>();
  const twice = new Set<string>();
  for (const key of keys) {
    const fault = await faultOf(key);
    if (fault !== undefined) {
      refuse(typeof key === "object" && key !== null ? key : {}, fault);
      continue;
    }
    const kid = key.kid as string;
    if (fit.has(kid)) twice.add(kid);
    fit.set(kid, key);
    prints.set(kid, `${await calculateJwkThumbprint(key)} ${key.alg ?? ""}`);
  }
  for (const kid of twice) {
    // Which of them is meant is unclear, and so is neither.
    refuse({ kid } as JWK, "two keys have this kid");
    fit.delete(kid);
    prints.delete(kid);
  }
  if (fit.size === 0) throw new Error("its JSON Web Key Set has no key that could verify a token");
  return { find: createLocalJWKSet({ keys: [...fit.values()] }), prints };
}

async function faultOf(key: JWK): Promise<string | undefined> {
  if (typeof key !== "object" || key === null) return "is no key";
  if (typeof key.kid !== "string" || key.kid === "" || key.kid.length > maxKidLength) return "has no kid";
  if (key.kty === "oct") return "is a shared secret: only public keys verify tokens here";
  if (privateMembers.some((member) => member in key)) {
    return "is a private key: whoever reads it can sign as the issuer; keep it secret and give the public part";
  }
  if (key.use !== undefined && key.use !== "sig") return `its use is ${key.use}, not sig`;
  if (key.kty === "RSA" && Buffer.from(String(key.n), "base64url").length * 8 < minRsaBits) {
    return `its RSA modulus is shorter than ${minRsaBits} bits`;
  }
  try {
    await importJWK(key, key.alg ?? algorithmOf(key));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** An algorithm that the key could be imported for; what it may verify is decided token by token. */
function algorithmOf(key: JWK): string {
  const ofCurve: Record<string, string> = { "P-256": "ES256", "P-384": "ES384", "P-521": "ES512", Ed25519: "EdDSA" };
  return key.kty === "RSA" ? "RS256" : (ofCurve[key.crv ?? ""] ?? "unsupported");
}
