import type { JWTPayload } from "jose";
import { MissionControlError } from "../errors.ts";

const sha256 = /^[A-Za-z0-9_-]{43}$/;

/**
 * The client certificate that a token is bound to (RFC 8705): the SHA-256 of its DER, base64url; undefined: the token is good
 * in anybody's hands. Throws TOKEN_INVALID for every other confirmation (RFC 7800): a proof that is not checked is none.
 */
export function boundCertificate({ cnf }: JWTPayload): string | undefined {
  if (cnf === undefined) return undefined;
  const members =
    typeof cnf === "object" && cnf !== null && !Array.isArray(cnf) ? (cnf as Record<string, unknown>) : {};
  if (Object.hasOwn(members, "jkt")) {
    throw invalid(
      "it is bound to a DPoP key (cnf.jkt), and proofs of DPoP are not checked here: bind it to a certificate",
    );
  }
  const thumbprint = Object.hasOwn(members, "x5t#S256") ? members["x5t#S256"] : undefined;
  if (typeof thumbprint !== "string" || !sha256.test(thumbprint) || Object.keys(members).length !== 1) {
    throw invalid("it is bound to something else (cnf) than a client certificate (x5t#S256)");
  }
  return thumbprint;
}

/** Throws TOKEN_INVALID unless the call came with the certificate that its token is bound to. */
export function checkBinding(bound: string | undefined, presented: string | undefined): void {
  if (bound === undefined || bound === presented) return;
  throw invalid(
    presented === undefined
      ? "it is bound to a client certificate (cnf): call over TLS with that certificate"
      : "it is bound to another client certificate (cnf) than the one of this call",
  );
}

function invalid(what: string): MissionControlError {
  return new MissionControlError("TOKEN_INVALID", `the token is not accepted: ${what}`);
}
