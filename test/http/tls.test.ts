import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import type { TlsConfig } from "../../src/http/tls.ts";
import { type Certificate, createAuthority } from "../fixture/certificates.ts";
import { until } from "../fixture/dev-process.ts";
import { bearer, type Fixture, startPort } from "./fixture.ts";
import { grpcClient } from "./grpc-js.ts";
import { raw } from "./raw.ts";

const authority = createAuthority();
const clients = createAuthority("Clients CA");
const alice = clients.issue("alice");

let dir: string;
let f: Fixture;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "mc-tls-"));
});
afterEach(async () => {
  await f.port.close(0);
  rmSync(dir, { recursive: true, force: true });
});

const put = (name: string, content: string) => {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
};
const putServer = ({ cert, key }: Certificate) => {
  put("server.crt", cert);
  put("server.key", key);
};
async function start(options: Partial<TlsConfig> = {}): Promise<Fixture> {
  putServer(authority.issue("server"));
  const tls: TlsConfig = {
    certFile: join(dir, "server.crt"),
    keyFile: join(dir, "server.key"),
    requireClientCertificate: false,
    minVersion: "TLSv1.3",
    ...options,
  };
  f = await startPort({ tls, limits: { tlsReloadMs: 50, sniffMs: 500, handshakeMs: 2_000 } });
  return f;
}
const url = () => `https://127.0.0.1:${f.number}`;

/** A GET over HTTP/1.1. */
function get(path: string, options: ConnectionOptions = {}): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      url() + path,
      { ca: authority.cert, agent: false, headers: bearer, ...options },
      (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (chunk: string) => {
          body += chunk;
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
      },
    );
    request.on("error", reject).end();
  });
}
/** A handshake, and what became of the connection within a moment. */
async function shakeHands(options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port: f.number, ca: authority.cert, ALPNProtocols: ["h2"], ...options });
  await once(socket, "secureConnect");
  return socket;
}

describe("over TLS, on one port", () => {
  test("gRPC, with grpc-js", async () => {
    await start();
    const client = grpcClient(url(), {}, { ca: authority.cert });
    const { message } = await client.unary(MissionControl.method.getHealth, {});
    expect(message.version).toBe("test");
    const kinds: number[] = [];
    for await (const { kind } of client.serverStream(MissionControl.method.watchWorkflows, { type: ["ends"] }))
      kinds.push(kind);
    expect(kinds.length).toBe(3);
    client.close();
    expect(f.chained.map(({ protocol }) => protocol)).toEqual(["grpc", "grpc"]);
  });

  test.each(["1.1", "2"] as const)("gRPC-Web and Connect, over HTTP/%s", async (httpVersion) => {
    await start();
    const options = { baseUrl: url(), httpVersion, nodeOptions: { ca: authority.cert } } as const;
    for (const transport of [createGrpcWebTransport(options), createConnectTransport(options)]) {
      const { version } = await createClient(MissionControl, transport).getHealth({}, { headers: bearer });
      expect(version).toBe("test");
    }
    expect(f.chained.map(({ protocol }) => protocol)).toEqual(["grpc-web", "connect"]);
  });

  test("REST, over HTTP/1.1 and HTTP/2, and as an event stream", async () => {
    await start();
    expect(await get("/v1/health")).toMatchObject({ status: 200, body: expect.stringContaining('"version":"test"') });
    expect((await get("/v1/events?type=ends")).body.trim().split("\n")).toHaveLength(3);
    const session = connectHttp2(url(), { ca: authority.cert });
    const stream = session.request({ ":path": "/v1/health", ...bearer }, { endStream: true });
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    expect(headers[":status"]).toBe(200);
    session.destroy();
  });

  test("who asks for no protocol gets HTTP/1.1, and who asks for another gets nothing", async () => {
    await start();
    const socket = connect({ host: "127.0.0.1", port: f.number, ca: authority.cert });
    socket.write("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const [chunk] = (await once(socket, "data")) as [Buffer];
    expect(chunk.toString()).toContain("HTTP/1.1 200");
    socket.destroy();
    await expect(shakeHands({ ALPNProtocols: ["http/1.0"] })).rejects.toThrow(
      /no application protocol|alert number 120/i,
    );
  });

  test("plaintext is refused before anything of it is looked at, and HTTP/1.1 is told why", async () => {
    await start();
    const plain = await raw(
      f.number,
      `GET /v1/health HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer.authorization}\r\n\r\n`,
    );
    await plain.closed();
    expect(plain.received()).toMatch(/^HTTP\/1\.1 400 [\s\S]*This port speaks TLS: use https\.\n$/);
    const h2c = await raw(f.number, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    await h2c.closed();
    expect(h2c.received()).toBe("");
    expect([...f.chained, ...f.refused]).toEqual([]);
  });

  test("a handshake that does not end is cut off, after more time than a connection that says nothing", async () => {
    await start();
    // The beginning of a handshake record of 512 bytes.
    const stalled = await raw(f.number, Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
    const silent = await raw(f.number);
    await silent.closed();
    const ms = await stalled.closed();
    expect(ms).toBeGreaterThan(1_900);
    expect(ms).toBeLessThan(20_000);
    expect((await get("/livez")).status).toBe(200);
  });

  test("what is no handshake behind the first byte harms nobody", async () => {
    await start();
    const garbage = await raw(f.number, Buffer.concat([Buffer.of(0x16), Buffer.alloc(600, 0x61)]));
    await garbage.closed();
    expect((await get("/livez")).status).toBe(200);
  });
});

describe("only modern TLS", () => {
  test("1.2 is refused, unless configured", async () => {
    await start();
    await expect(shakeHands({ maxVersion: "TLSv1.2" })).rejects.toThrow(/protocol version|alert number 70/i);
    expect((await shakeHands({})).destroy().getProtocol()).toBeDefined();
  });

  test("with 1.2 allowed, forward secrecy and AEAD are asked for, and 1.1 is refused", async () => {
    await start({ minVersion: "TLSv1.2" });
    const socket = await shakeHands({ maxVersion: "TLSv1.2" });
    expect(socket.getProtocol()).toBe("TLSv1.2");
    expect(socket.getCipher().name).toMatch(/^ECDHE-.*(GCM|POLY1305)/);
    socket.destroy();
    const weak = { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-SHA256:AES128-SHA" } as const;
    await expect(shakeHands(weak)).rejects.toThrow(/handshake failure|alert number 40/i);
    await expect(
      shakeHands({ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }),
    ).rejects.toThrow();
  });
});

describe("client certificates", () => {
  const ask = (required = false): Partial<TlsConfig> => ({
    clientCaFile: put("clients.crt", clients.cert),
    requireClientCertificate: required,
  });

  test("the call knows the thumbprint of the one that was proved, on HTTP/1.1 and HTTP/2, and of none where none was sent", async () => {
    await start(ask());
    await get("/v1/health");
    await get("/v1/health", alice);
    const client = grpcClient(url(), {}, { ca: authority.cert, ...alice });
    await client.unary(MissionControl.method.getHealth, {});
    await client.unary(MissionControl.method.getHealth, {});
    client.close();
    const { thumbprint } = alice;
    expect(f.chained.map((call) => call.clientCertificateThumbprint)).toEqual([
      undefined,
      thumbprint,
      thumbprint,
      thumbprint,
    ]);
  });

  test("without client_ca nobody is asked, and a certificate that is offered counts for nothing", async () => {
    await start();
    await get("/v1/health", alice);
    expect(f.chained.map((call) => call.clientCertificateThumbprint)).toEqual([undefined]);
  });

  test.each([
    ["of another authority", () => createAuthority("Clients CA").issue("alice")],
    ["that has expired", () => clients.issue("alice", -1)],
    ["that its client made itself", () => createAuthority("alice")],
  ])("one %s gets no connection, also where none would do", async (_, make) => {
    await start(ask());
    await expect(get("/v1/health", make())).rejects.toThrow();
    expect([...f.chained, ...f.refused]).toEqual([]);
    expect((await get("/v1/health")).status).toBe(200);
  });

  test("where one is required, nobody connects without", async () => {
    await start(ask(true));
    await expect(get("/v1/health")).rejects.toThrow();
    await expect(get("/v1/health", createAuthority().issue("alice"))).rejects.toThrow();
    expect((await get("/v1/health", alice)).status).toBe(200);
    expect(f.chained).toHaveLength(1);
  });

  test("no session is resumed: a certificate is verified anew at each connection", async () => {
    await start(ask());
    let session: Buffer | undefined;
    const first = await shakeHands(alice);
    first.on("session", (ticket) => {
      session = ticket;
    });
    first.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    await once(first, "data");
    first.destroy();
    const second = await shakeHands({ ...alice, session: session ?? first.getSession() });
    expect(second.isSessionReused()).toBe(false);
    second.destroy();
  });
});

describe("the files are read again when they change", () => {
  const serial = async () => {
    const socket = await shakeHands({ ca: [authority.cert] });
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber;
  };

  test("new connections get the new certificate, those that are there go on", async () => {
    await start();
    const before = await serial();
    const session = connectHttp2(url(), { ca: authority.cert });
    await once(session, "connect");
    putServer(authority.issue("server", 60));
    await until("the new certificate", async () => (await serial()) !== before);
    const stream = session.request({ ":path": "/livez" }, { endStream: true });
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    expect(headers[":status"]).toBe(200);
    session.destroy();
    const left = (f.port.tls?.state().expireTime.getTime() ?? 0) - Date.now();
    expect(Math.round(left / 86_400_000)).toBe(60);
  });

  test("files that do not fit together change nothing and are told, until they do", async () => {
    await start();
    const before = await serial();
    const next = authority.issue("server");
    put("server.crt", next.cert);
    await until("the fault is told", () => f.port.tls?.state().fault !== undefined);
    expect(f.port.tls?.state().fault).toMatch(/server\.crt with the key .*server\.key cannot be used/);
    expect(await serial()).toBe(before);
    put("server.key", next.key);
    await until("the new certificate", async () => (await serial()) !== before);
    expect(f.port.tls?.state().fault).toBeUndefined();
  });

  test("an authority that is gone lets nobody in any more", async () => {
    await start({ clientCaFile: put("clients.crt", clients.cert) });
    expect((await get("/v1/health", alice)).status).toBe(200);
    put("clients.crt", createAuthority("New CA").cert);
    await until("alice's certificate is refused", () =>
      get("/v1/health", alice).then(
        () => false,
        () => true,
      ),
    );
  });
});

test.each([
  ["certFile", "tls.cert: cannot read "],
  ["keyFile", "tls.key: cannot read "],
  ["clientCaFile", "tls.client_ca: cannot read "],
])("a %s that is not there is told at start", async (name, told) => {
  await start();
  await expect(start({ [name]: join(dir, "missing.pem") })).rejects.toThrow(told);
});

test("an empty file of authorities is refused: with it nobody could be told from anybody", async () => {
  await start();
  await expect(start({ clientCaFile: put("empty.crt", "\n") })).rejects.toThrow("there is no certificate in");
});
