import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect } from "node:http2";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, it } from "vitest";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { bearer, startPort } from "./fixture.ts";
import { raw } from "./raw.ts";

const hang = '{"reason":"hang"}';

/** Resolves with ms from now until the promise does. */
async function timed(promise: Promise<void>): Promise<number> {
  const start = performance.now();
  await promise;
  return performance.now() - start;
}

describe("closing the port", () => {
  it("is immediate where nothing is in flight, idle connections or not", async () => {
    const f = await startPort();
    const session = connect(f.url);
    await once(session, "remoteSettings");
    const keptAlive = await raw(f.number, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    await keptAlive.until("alive");
    const goaway = once(session, "goaway");
    expect(await timed(f.port.close())).toBeLessThan(2_000);
    await goaway;
    await keptAlive.closed();
    await expect(fetch(`${f.url}/livez`)).rejects.toThrow();
  });

  it("does not wait for a connection that has said nothing", async () => {
    const f = await startPort();
    const silent = await raw(f.number);
    expect(await timed(f.port.close(300))).toBeLessThan(2_000);
    await silent.closed();
  });

  it.each([false, true])("ends streams with SHUTTING_DOWN, even of a service that is deaf (%s)", async (deaf) => {
    const f = await startPort({ deaf });
    const client = createClient(MissionControl, createGrpcTransport({ baseUrl: f.url }));
    const grpc = client.watchWorkflows({}, { headers: bearer })[Symbol.asyncIterator]();
    for (let i = 0; i < 3; i++) await grpc.next();
    const events = await raw(
      f.number,
      `GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: ${bearer.authorization}\r\n\r\n`,
    );
    await events.until("SNAPSHOT_END");
    const closed = timed(f.port.close());
    await expect(grpc.next()).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringContaining("shutting down"),
    });
    expect(await events.until("event: error")).toContain("SHUTTING_DOWN");
    expect(await closed).toBeLessThan(3_000);
  });

  it("lets a unary call end, and tells its client not to come back on this connection", async () => {
    let release = () => {};
    const f = await startPort({
      interceptors: [
        (next) => async (req) => {
          const { callKey } = await import("../../src/interceptors/context.ts");
          const call = req.contextValues.get(callKey);
          if (call) call.audited = true;
          await new Promise<void>((resolve) => (release = resolve));
          return next(req);
        },
      ],
    });
    const agent = new Agent({ keepAlive: true });
    const req = request(`${f.url}/v1/health`, { headers: bearer, agent });
    req.end();
    const answered = once(req, "response");
    await new Promise((resolve) => setTimeout(resolve, 100));
    const closed = timed(f.port.close(5_000));
    await new Promise((resolve) => setTimeout(resolve, 100));
    release();
    const [response] = await answered;
    expect(response.statusCode).toBe(200);
    response.resume();
    expect(await closed).toBeLessThan(2_000);
    agent.destroy();
  });

  it("cuts a unary call off when the grace is over", async () => {
    const f = await startPort();
    const call = fetch(`${f.url}/v1/workflows/x/pause`, {
      method: "POST",
      headers: { ...bearer, "content-type": "application/json" },
      body: hang,
    });
    const failed = expect(call).rejects.toThrow();
    await expect.poll(() => f.requests.length).toBe(1);
    const ms = await timed(f.port.close(300));
    expect(ms).toBeGreaterThan(250);
    expect(ms).toBeLessThan(2_000);
    await failed;
  });

  it("is hurried by a second call", async () => {
    const f = await startPort();
    const call = fetch(`${f.url}/v1/workflows/x/pause`, {
      method: "POST",
      headers: { ...bearer, "content-type": "application/json" },
      body: hang,
    }).catch(() => {});
    await expect.poll(() => f.requests.length).toBe(1);
    const first = timed(f.port.close(60_000));
    await f.port.close(0);
    expect(await first).toBeLessThan(2_000);
    await call;
  });

  it("shows on /readyz and grpc.health.v1 on connections that are still there", async () => {
    const f = await startPort();
    const busy = fetch(`${f.url}/v1/workflows/x/pause`, {
      method: "POST",
      headers: { ...bearer, "content-type": "application/json" },
      body: hang,
    }).catch(() => {});
    const pipelined = await raw(
      f.number,
      `POST /v1/workflows/x/pause HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer.authorization}\r\nConnect-Timeout-Ms: 500\r\nContent-Type: application/json\r\nContent-Length: ${hang.length}\r\n\r\n${hang}`,
    );
    await expect.poll(() => f.requests.length).toBe(2);
    const closed = f.port.close(3_000);
    pipelined.socket.write("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    const text = await pipelined.until("shutting down");
    expect(text).toContain("503");
    await f.port.close(0);
    await Promise.all([closed, busy]);
  });
});
