import { constants, createHash, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { createSecureContext, createServer, type SecureContextOptions, type TLSSocket } from "node:tls";
import type { Logger } from "../log.ts";
import type { Limits } from "./limits.ts";

/** The PEM files that TLS on the port is made of. They are read again when they change. */
export interface TlsConfig {
  /** The server's certificate, with its intermediates behind it. */
  readonly certFile: string;
  readonly keyFile: string;
  /** Whom client certificates have to be from; undefined: clients are not asked for one. */
  readonly clientCaFile?: string | undefined;
  /** True: no connection without a client certificate; false: they may do without. */
  readonly requireClientCertificate: boolean;
  /** The oldest version that is spoken. */
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
}

/** TLS in front of HTTP/1.1 and HTTP/2. */
export interface Tls {
  /** Takes a connection that begins with a TLS handshake. */
  accept(socket: Socket): void;
  /** When the certificate ends, and why the files as they are now are not those in use; undefined where they are. */
  state(): { readonly expireTime: Date; readonly fault: string | undefined };
  /** Reads the files no more. */
  close(): void;
}

/** With TLS 1.3 nothing else is spoken than these kinds anyway. */
const ciphers = [
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "TLS_AES_128_GCM_SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
].join(":");

/** Every connection does a full handshake: a resumed one would bring a client certificate of before the authorities changed. */
const noTicket = constants.SSL_OP_NO_TICKET;

/**
 * Reads the files, and takes TLS connections. A client certificate that is not from the configured authorities ends the
 * connection, whether one is required or not.
 *
 * @param options.accept takes over what was decrypted, by the protocol that was agreed on: h2, or else HTTP/1.1.
 * @throws Error that names the file, and what is wrong with it.
 */
export async function openTls(options: {
  config: TlsConfig;
  limits: Pick<Limits, "handshakeMs" | "tlsReloadMs">;
  log: Logger;
  accept: { http1: (socket: Socket) => void; http2: (socket: Socket) => void };
}): Promise<Tls> {
  const { config, limits, log, accept } = options;
  let files = await readTlsFiles(config);
  let fault: string | undefined;
  const asksClients = config.clientCaFile !== undefined;
  const server = createServer({
    ...files.context,
    ALPNProtocols: ["h2", "http/1.1"],
    handshakeTimeout: limits.handshakeMs,
    requestCert: asksClients,
    // One that was sent is looked at below: Node's own check would refuse also whoever sends none.
    rejectUnauthorized: asksClients && config.requireClientCertificate,
  });
  const told = onceInAWhile();
  server.on("tlsClientError", (error, socket) => {
    socket.destroy();
    if (told()) log.info({ err: error, source: socket.remoteAddress }, "a TLS handshake failed");
  });
  server.on("secureConnection", (socket) => {
    socket.on("error", () => socket.destroy());
    if (asksClients && !socket.authorized && socket.getPeerX509Certificate() !== undefined) {
      if (told()) {
        log.warn(
          { reason: String(socket.authorizationError), source: socket.remoteAddress },
          "a client certificate was refused",
        );
      }
      socket.destroy();
    } else if (socket.alpnProtocol === "h2") accept.http2(socket);
    else accept.http1(socket);
  });

  const reload = async () => {
    try {
      const found = await readTlsFiles(config);
      if (found.digest !== files.digest) {
        server.setSecureContext(found.context);
        log.info({ expireTime: found.expireTime }, "the TLS files have changed, and are in use");
      }
      files = found;
      fault = undefined;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (message !== fault)
        log.error({ err: error }, "the TLS files have changed and cannot be used: the former ones stay");
      fault = message;
    }
  };
  let closed = false;
  let timer: NodeJS.Timeout;
  // Polled: what a secret is mounted as (links to folders that are swapped) no watcher follows.
  const later = () => {
    timer = setTimeout(() => void reload().then(() => closed || later()), limits.tlsReloadMs).unref();
  };
  later();
  return {
    accept: (socket) => server.emit("connection", socket),
    state: () => ({ expireTime: files.expireTime, fault }),
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** What the files say, checked. */
export interface TlsFiles {
  readonly context: SecureContextOptions;
  readonly expireTime: Date;
  /** Of all the files' contents. */
  readonly digest: string;
}

/** Reads the files. Throws an Error that names the one which cannot be used, and why. */
export async function readTlsFiles({ certFile, keyFile, clientCaFile, minVersion }: TlsConfig): Promise<TlsFiles> {
  // One after the other: of several that are missing it is always the first that is told.
  const cert = await read("cert", certFile);
  const key = await read("key", keyFile);
  const ca = clientCaFile === undefined ? undefined : await read("client_ca", clientCaFile);
  const context: SecureContextOptions = {
    cert,
    key,
    ...(ca && { ca: authorities(ca, clientCaFile as string) }),
    ciphers,
    honorCipherOrder: true,
    minVersion,
    secureOptions: noTicket,
  };
  const attempt = <T>(what: string, make: () => T): T => {
    try {
      return make();
    } catch (error) {
      throw new Error(`tls: ${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  attempt(`${certFile} with the key ${keyFile} cannot be used`, () => createSecureContext(context));
  const { validToDate } = attempt(`${certFile} is no certificate`, () => new X509Certificate(cert));
  const hash = createHash("sha256");
  for (const content of [cert, key, ca ?? ""]) hash.update(content).update("\0");
  return { context, expireTime: validToDate, digest: hash.digest("hex") };
}

async function read(name: string, file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new Error(`tls.${name}: cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Node takes a file without a certificate for an empty list: then every client's would be from nobody. */
function authorities(pem: string, file: string): string[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs) ?? [];
  if (found.length === 0) throw new Error(`tls.client_ca: there is no certificate in ${file}`);
  return found;
}

/** True at most every 10 s: one line tells as much as a flood of them. */
function onceInAWhile(): () => boolean {
  let next = 0;
  return () => {
    if (performance.now() < next) return false;
    next = performance.now() + 10_000;
    return true;
  };
}

/**
 * The SHA-256 over the DER of the certificate that a connection's client has proved to own, as base64url (RFC 8705, `x5t#S256`);
 * undefined where it sent none. A connection that is here has one of the configured authorities, or none.
 */
export function clientThumbprint(socket: Socket): string | undefined {
  const certificate = (socket as Partial<TLSSocket>).getPeerX509Certificate?.();
  return certificate && createHash("sha256").update(certificate.raw).digest("base64url");
}
