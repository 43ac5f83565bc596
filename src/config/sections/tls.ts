import * as z from "zod";
import type { TlsConfig } from "../../http/tls.ts";
import { path, section } from "../section.ts";

/** TLS on the port. The files are PEM, and are read again when they change. */
export function tls(baseDir: string) {
  return section({
    /** The server's certificate, with its intermediates behind it. */
    cert: path(baseDir),
    /** Its private key. */
    key: path(baseDir),
    /** Whom client certificates have to be from; without it, clients are not asked for one. */
    client_ca: path(baseDir).optional(),
    /** Refuse clients without a certificate of client_ca; by default they may do without. */
    require_client_certificate: z.boolean().optional(),
    /** The oldest version that is spoken: "1.3", or "1.2" for old clients (with forward secrecy only). */
    min_version: z.enum(["1.2", "1.3"]).optional(),
  })
    .refine(({ client_ca, require_client_certificate }) => !require_client_certificate || client_ca !== undefined, {
      path: ["require_client_certificate"],
      error: "needs client_ca: the file with the authorities that client certificates have to be from",
    })
    .transform(
      ({ cert, key, client_ca, require_client_certificate, min_version }): TlsConfig => ({
        certFile: cert,
        keyFile: key,
        clientCaFile: client_ca,
        requireClientCertificate: require_client_certificate ?? false,
        minVersion: min_version === "1.2" ? "TLSv1.2" : "TLSv1.3",
      }),
    );
}
