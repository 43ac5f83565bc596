import { once } from "node:events";
import { type ClientHttp2Session, connect, constants } from "node:http2";
import { afterEach, describe, expect, it } from "vitest";
import type { Limits } from "../../src/http/limits.ts";
import { bearer, type Fixture, startPort } from "./fixture.ts";
import { raw } from "./raw.ts";

let f: Fixture;
afterEach(() => f.port.close(0));

async function start(limits: Partial<Limits>): Promise<Fixture> {
  f = await startPort({ limits });
  return f;
}

const health = { ":path": "/v1/health", ...bearer };

async function status(session: ClientHttp2Session, headers: Record<string, string>): Promise<number | string> {
  const stream = session.request(headers, { endStream: true });
  const { promise, resolve } = Promise.withResolvers<number | string>();
  stream.on("response", (response) => resolve(response[":status"] ?? 0));
  stream.on("error", (error) => resolve((error as { code?: string }).code ?? "error"));
  stream.on("close", () => resolve(`closed with ${stream.rstCode}`));
  stream.resume();
  return promise;
}

describe("a connection", () => {
  it("is cut off when its headers do not end", async () => {
    await start({ headerMs: 300 });
    const slow = await raw(f.number, "GET /livez HTTP/1.1\r\nHost: x\r\n");
    const drip = setInterval(() => slow.socket.write("x-a: b\r\n"), 50);
    const ms = await slow.closed().finally(() => clearInterval(drip));
    expect(ms).toBeLessThan(3_000);
    expect(slow.received()).toContain("408");
  });

  it("is told where its headers are too large, on HTTP/1.1 and HTTP/2", async () => {
    await start({ headerBytes: 4 * 1024 });
    const large = await raw(f.number, `GET /livez HTTP/1.1\r\nHost: x\r\nx-large: ${"x".repeat(5_000)}\r\n\r\n`);
    await large.until("431");
    const session = connect(f.url);
    expect(await status(session, { ":path": "/livez", "x-large": "x".repeat(5_000) })).toBe(431);
    session.destroy();
    expect(f.refused).toEqual([]);
  });

  it("is cut off when it sends what is no HTTP", async () => {
    await start({});
    const garbage = await raw(f.number, "\0\0\0 nonsense \r\n\r\n");
    await garbage.closed();
    expect(garbage.received()).toContain("400");
    const frames = await raw(f.number, `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${"x".repeat(100)}`);
    await frames.closed();
    expect((await fetch(`${f.url}/livez`)).status).toBe(200);
  });

  it("is closed when it is idle, on HTTP/1.1 and HTTP/2", async () => {
    await start({ idleMs: 300 });
    const idle = await raw(f.number, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    await idle.until("alive");
    expect(await idle.closed()).toBeLessThan(5_000);
    const session = connect(f.url);
    await once(session, "connect");
    await once(session, "close");
  });

  it("is not closed under a stream that is silent for longer", async () => {
    await start({ idleMs: 200 });
    const session = connect(f.url);
    const stream = session.request({ ":path": "/v1/events", ...bearer });
    stream.resume();
    await once(stream, "response");
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(f.streams()).toBe(1);
    expect(await status(session, health)).toBe(200);
    stream.close();
    await once(session, "close");
    expect(f.streams()).toBe(0);
  });

  it("is dropped when there are too many", async () => {
    await start({ connections: 2, gateConnections: 0 });
    const first = await raw(f.number, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    const second = await raw(f.number, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    await first.until("alive");
    await second.until("alive");
    const third = await raw(f.number);
    await third.closed();
    second.socket.destroy();
    await expect.poll(async () => (await fetch(`${f.url}/livez`).catch(() => undefined))?.status).toBe(200);
    first.socket.destroy();
  });

  it("has no more than so many streams at once", async () => {
    await start({ streamsPerConnection: 3 });
    const session = connect(f.url);
    await once(session, "remoteSettings");
    expect(session.remoteSettings.maxConcurrentStreams).toBe(3);
    session.destroy();
  });

  it("is cut off when it takes nothing of an answer", async () => {
    f = await startPort({ limits: { stallMs: 300 }, changes: 200, changeBytes: 100_000 });
    const stalled = await raw(
      f.number,
      `GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer.authorization}\r\n\r\n`,
    );
    stalled.socket.pause();
    await expect.poll(() => f.streams(), { timeout: 5_000 }).toBe(1);
    await expect.poll(() => f.streams(), { timeout: 5_000 }).toBe(0);
    stalled.socket.destroy();
  });

  it.each([
    ["a stream", "/v1/events", 200],
    ["one answer", "/docs/swagger-ui-bundle.js", 0],
  ])("loses only the HTTP/2 stream of which it takes nothing (%s)", async (_, path, changes) => {
    f = await startPort({ limits: { stallMs: 300 }, changes, changeBytes: 100_000 });
    const session = connect(f.url);
    const stream = session.request({ ":path": path, ...bearer });
    stream.on("error", () => {});
    await once(stream, "response");
    const closed = once(stream, "close");
    await expect.poll(() => stream.readableLength).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 800));
    stream.resume();
    await closed;
    expect(stream.rstCode).not.toBe(constants.NGHTTP2_NO_ERROR);
    expect(f.streams()).toBe(0);
    expect(await status(session, health)).toBe(200);
    session.destroy();
  });

  it("is told when its body does not come, and the ledger is", async () => {
    await start({ bodyMs: 200 });
    const head = `Host: x\r\nAuthorization: ${bearer.authorization}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{`;
    for (const path of ["/v1/workflows/x/pause", "/missioncontrol.v1.MissionControl/PauseWorkflow"]) {
      const slow = await raw(f.number, `POST ${path} HTTP/1.1\r\n${head}`);
      await slow.until("REQUEST_TIMEOUT");
      expect(await slow.closed()).toBeLessThan(5_000);
    }
    expect(f.refused).toHaveLength(2);
  });

  it("stays good after a refusal whose body it goes on to send", async () => {
    await start({ lingerMs: 300 });
    const body = "x".repeat(1024 * 1024 + 1);
    const client = await raw(
      f.number,
      `POST /v1/workflows/x/pause HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer.authorization}\r\nContent-Type: application/json\r\nContent-Length: ${body.length + 10}\r\n\r\n`,
    );
    client.socket.write(body);
    await client.until("MESSAGE_TOO_LARGE");
    client.socket.write("y".repeat(10));
    await new Promise((resolve) => setTimeout(resolve, 600));
    client.socket.write("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    await client.until("alive");
    client.socket.destroy();
  });

  it.each([
    ["/v1/workflows/x/pause", "application/json"],
    ["/missioncontrol.v1.MissionControl/PauseWorkflow", "application/json"],
    ["/missioncontrol.v1.MissionControl/PauseWorkflow", "application/grpc"],
  ])("serves the next request behind a body that was refused (%s, %s)", async (path, contentType) => {
    await start({ lingerMs: 20_000 });
    for (const extra of [1, 70_000, 1024 * 1024]) {
      const body = Buffer.alloc(1024 * 1024 + extra, 0x20);
      // A gRPC envelope that announces more than a message may have.
      if (contentType === "application/grpc") body.writeUInt32BE(body.length - 5, 1);
      const client = await raw(
        f.number,
        `POST ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer.authorization}\r\nContent-Type: ${contentType}\r\nContent-Length: ${body.length}\r\n\r\n`,
      );
      client.socket.write(body);
      client.socket.write("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
      expect(await client.until("alive")).toMatch(/MESSAGE_TOO_LARGE|grpc-status: 8|grpc-status: 3/);
      client.socket.destroy();
    }
  });

  it("loses only the stream whose body nobody wants, on HTTP/2", async () => {
    await start({ lingerMs: 100 });
    const session = connect(f.url);
    const stream = session.request({ ":method": "POST", ":path": "/v1/workflows/x/pause" });
    const [response] = await once(stream, "response");
    expect(response[":status"]).toBe(401);
    stream.resume();
    await once(stream, "close");
    expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
    expect(await status(session, health)).toBe(200);
    session.destroy();
  });
});
