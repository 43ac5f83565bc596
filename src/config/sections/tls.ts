import * as z from "zod";
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
  })
    .refine(({ client_ca, require_client_certificate }) => !require_client_certificate || client_ca !== undefined, {
      path: ["require_client_certificate"],
      error: "needs client_ca: the file with the authorities that client certificates have to be from",
    })
    .transform(({ cert, key, client_ca, require_client_certificate }) => ({
      certFile: cert,
      keyFile: key,
      clientCaFile: client_ca,
      requireClientCertificate: require_client_certificate ?? false,
    }));
}
