import { gzipSync } from "node:zlib";
import { ConnectError } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Workflow_Status } from "../../../gen/missioncontrol/v1/workflow_pb.ts";
import { httpStatusOf } from "../../../src/http/status.ts";
import { bearer, type Fixture, missing, startPort } from "../fixture.ts";
import { raw } from "../raw.ts";

let f: Fixture;
beforeAll(async () => {
  f = await startPort({ limits: { heartbeatMs: 100 } });
});
afterAll(() => f.port.close(0));
afterEach(() => {
  f.requests.length = 0;
  f.chained.length = 0;
  f.refused.length = 0;
});

const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(f.url + path, { headers: { ...bearer, ...headers } });
const post = (path: string, body?: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
  fetch(f.url + path, {
    method: "POST",
    headers: { ...bearer, "content-type": "application/json", ...headers },
    ...(body !== undefined && { body }),
  });
const pause = "/v1/workflows/restate:inv_1/pause";

async function refusal(
  response: Response,
): Promise<{ status: number; reason: string; message: string; field?: string }> {
  const { code, message, details } = (await response.json()) as {
    code: number;
    message: string;
    details: { "@type": string; reason?: string; fieldViolations?: { field: string }[] }[];
  };
  expect(response.headers.get("content-type")).toBe("application/json");
  expect(code).toBeGreaterThan(0);
  const field = details[1]?.fieldViolations?.[0]?.field;
  return { status: response.status, reason: details[0]?.reason ?? "", message, ...(field !== undefined && { field }) };
}

describe("a REST request", () => {
  it("goes through the chain as its RPC", async () => {
    const response = await get("/v1/workflows/restate:inv_1", { "x-request-id": "mine" });
    expect(response.headers.get("x-request-id")).toBe("mine");
    expect(f.chained).toMatchObject([
      { id: "mine", protocol: "rest", method: "missioncontrol.v1.MissionControl/GetWorkflow" },
    ]);
    expect(f.refused).toEqual([]);
  });

  it("takes its message from path and query", async () => {
    await get("/v1/workflows?status=RUNNING&status=4&type=a%2Fb&page_size=3&createdAfter=2026-01-01T00:00:00Z");
    expect(f.requests[0]?.request).toMatchObject({
      status: [Workflow_Status.RUNNING, Workflow_Status.PAUSED],
      type: ["a/b"],
      pageSize: 3,
      createdAfter: { seconds: 1767225600n },
    });
  });

  it("takes its message from the body, in camelCase and in snake_case, and the path wins", async () => {
    for (const body of [
      '{"reason":"r","expiresIn":"5s","workflowId":"other"}',
      '{"reason":"r","expires_in":"5s","workflow_id":"other"}',
    ]) {
      expect((await post(pause, body)).status).toBe(200);
      expect(f.requests.pop()?.request).toMatchObject({
        workflowId: "restate:inv_1",
        reason: "r",
        expiresIn: { seconds: 5n },
      });
    }
  });

  it("may have no body where all of it is optional", async () => {
    expect((await post(pause)).status).toBe(200);
    expect((await fetch(f.url + pause, { method: "POST", headers: bearer })).status).toBe(200);
  });

  it("may be packed with gzip", async () => {
    const body = Uint8Array.from(gzipSync('{"reason":"packed"}'));
    expect((await post(pause, body, { "content-encoding": "gzip" })).status).toBe(200);
    expect(f.requests[0]?.request).toMatchObject({ reason: "packed" });
  });

  it("has a deadline by connect-timeout-ms", async () => {
    const start = performance.now();
    const response = await post(pause, '{"reason":"hang"}', { "connect-timeout-ms": "100" });
    expect(response.status).toBe(504);
    expect(performance.now() - start).toBeLessThan(2_000);
  });

  it("is aborted when its client leaves", async () => {
    const controller = new AbortController();
    const stream = await fetch(`${f.url}/v1/events`, { headers: bearer, signal: controller.signal });
    await stream.body?.getReader().read();
    expect(f.streams()).toBe(1);
    controller.abort();
    await expect.poll(() => f.streams()).toBe(0);
  });
});

describe("a REST request is refused, and recorded,", () => {
  afterEach(() => {
    expect(f.refused).toHaveLength(1);
    expect(f.requests).toEqual([]);
  });

  it.each([
    ["for an unknown parameter", "/v1/workflows?statsu=RUNNING", "statsu"],
    ["for a parameter of no value that it can have", "/v1/workflows?status=NONSENSE", "status"],
    ["for a parameter that is given twice", "/v1/workflows?page_size=1&page_size=2", "page_size"],
  ])("%s", async (_, path, field) => {
    expect(await refusal(await get(path))).toMatchObject({ status: 400, reason: "INVALID_ARGUMENT", field });
  });

  it("for one parameter under two names", async () => {
    expect(await refusal(await get("/v1/workflows?page_size=1&pageSize=2"))).toMatchObject({ status: 400 });
  });

  it("for a malformed escape, in the path and in the query", async () => {
    expect(await refusal(await get("/v1/workflows/%zz"))).toMatchObject({ status: 400, reason: "INVALID_ARGUMENT" });
    expect(f.refused.splice(0)).toHaveLength(1);
    expect(await refusal(await get("/v1/workflows?type=%ff"))).toMatchObject({ status: 400 });
  });

  it("for a query beside a body", async () => {
    const answer = await refusal(await post(`${pause}?reason=r`, "{}"));
    expect(answer).toMatchObject({ status: 400, message: expect.stringContaining("send it in the body") });
  });

  it("for a body where none is taken", async () => {
    const connection = await raw(
      f.number,
      `GET /v1/workflows HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer.authorization}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
    );
    await connection.until("takes no body");
    connection.socket.destroy();
  });

  it.each([
    ["that is not JSON", "{", "not JSON"],
    ["that is no object", "[]", "not an object"],
    ["with an unknown field", '{"validate_olny":true}', "validate_olny"],
    ["with a field of another type", '{"reason":7}', "reason"],
    ["that is not UTF-8", Uint8Array.of(0x22, 0xff, 0x22), "UTF-8"],
  ])("for a body %s", async (_, body, message) => {
    const answer = await refusal(await post(pause, body));
    expect(answer).toMatchObject({
      status: 400,
      reason: "INVALID_ARGUMENT",
      message: expect.stringContaining(message),
    });
  });

  it("for a body of another type", async () => {
    const answer = await refusal(
      await post(pause, "reason=r", { "content-type": "application/x-www-form-urlencoded" }),
    );
    expect(answer).toMatchObject({ status: 415, reason: "UNSUPPORTED_MEDIA_TYPE" });
  });

  it("for brotli, and for gzip that is none", async () => {
    expect(await refusal(await post(pause, "x", { "content-encoding": "br" }))).toMatchObject({
      status: 415,
      reason: "UNSUPPORTED_ENCODING",
    });
    expect(f.refused.splice(0)).toHaveLength(1);
    expect(await refusal(await post(pause, "x", { "content-encoding": "gzip" }))).toMatchObject({ status: 400 });
  });

  it("for a body of more than 1 MiB, also where its length is not announced", async () => {
    const body = `{"reason":"${"r".repeat(1024 * 1024)}"}`;
    expect(await refusal(await post(pause, body))).toMatchObject({ status: 413, reason: "MESSAGE_TOO_LARGE" });
    expect(f.refused.splice(0)).toHaveLength(1);
    const endless = await raw(
      f.number,
      `POST ${pause} HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer.authorization}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
    const sending = setInterval(() => endless.socket.write(chunk), 2);
    await endless.until("MESSAGE_TOO_LARGE").finally(() => clearInterval(sending));
    endless.socket.destroy();
  });

  it("for a gzip bomb, without unpacking it", async () => {
    const bomb = Uint8Array.from(gzipSync(Buffer.alloc(256 * 1024 * 1024)));
    const before = process.memoryUsage().rss;
    expect(await refusal(await post(pause, bomb, { "content-encoding": "gzip" }))).toMatchObject({ status: 413 });
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  });

  it("for a deadline that is none, or beyond the cap", async () => {
    expect(await refusal(await get("/v1/health", { "connect-timeout-ms": "soon" }))).toMatchObject({ status: 400 });
    expect(f.refused.splice(0)).toHaveLength(1);
    expect(await refusal(await get("/v1/health", { "connect-timeout-ms": "3600000" }))).toMatchObject({ status: 400 });
  });

  it("for a method that the path does not know, naming those that it does", async () => {
    const response = await fetch(`${f.url}/v1/workflows`, { method: "DELETE", headers: bearer });
    expect(response.headers.get("allow")).toBe("GET, HEAD, OPTIONS");
    expect(await refusal(response)).toMatchObject({ status: 405, reason: "METHOD_NOT_ALLOWED" });
  });

  it("for a path that is not there", async () => {
    expect(await refusal(await get("/v1/nothing"))).toMatchObject({ status: 404, reason: "UNKNOWN_PATH" });
  });
});

describe("a REST answer", () => {
  it("is the field that response_body names, even where it is not set", async () => {
    expect(await (await get("/v1/workflows/restate:inv_1")).json()).toMatchObject({
      workflowId: "restate:inv_1",
      status: "RUNNING",
      createTime: "2023-11-14T22:13:20Z",
    });
    expect(await (await get("/v1/workflows/restate:inv_empty")).json()).toEqual({});
  });

  it("is google.rpc.Status where the service fails", async () => {
    const response = await get(`/v1/workflows/${missing}`);
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({
      code: 5,
      message: `no engine knows ${missing}`,
      details: [
        {
          "@type": "type.googleapis.com/google.rpc.ErrorInfo",
          reason: "WORKFLOW_NOT_FOUND",
          domain: "missioncontrol",
          metadata: { workflow_id: missing },
        },
      ],
    });
    expect(f.refused).toEqual([]);
  });

  it("asks who has no token for one", async () => {
    const response = await fetch(`${f.url}/v1/workflows`);
    expect(response.status).toBe(401);
    expect(response.headers.get("www-authenticate")).toBe("Bearer");
    const malformed = await fetch(`${f.url}/v1/workflows`, { headers: { authorization: "Bearer x" } });
    expect(malformed.headers.get("www-authenticate")).toBe('Bearer error="invalid_token"');
  });

  it("has the HTTP status of its code", () => {
    const statuses = Array.from({ length: 16 }, (_, i) => httpStatusOf(new ConnectError("x", i + 1)));
    expect(statuses).toEqual([499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401]);
  });

  it("to HEAD is that to GET without the body", async () => {
    const [head, whole] = [
      await fetch(`${f.url}/v1/workflows`, { method: "HEAD", headers: bearer }),
      await get("/v1/workflows"),
    ];
    expect(head.status).toBe(200);
    expect(head.headers.get("content-length")).toBe(whole.headers.get("content-length"));
    expect(await head.text()).toBe("");
    expect(f.chained).toHaveLength(2);
  });

  it("to OPTIONS names the methods, without a token", async () => {
    const response = await fetch(`${f.url}${pause}`, { method: "OPTIONS" });
    expect(response.status).toBe(204);
    expect(response.headers.get("allow")).toBe("OPTIONS, POST");
    expect((await fetch(`${f.url}/v1/nothing`, { method: "OPTIONS" })).status).toBe(401);
  });
});

describe("a REST stream", () => {
  it("is one JSON message a line", async () => {
    const response = await get("/v1/events?type=ends");
    expect(response.headers.get("content-type")).toBe("application/x-ndjson");
    const lines = (await response.text()).trim().split("\n");
    expect(lines.map((line) => JSON.parse(line).kind)).toEqual(["SNAPSHOT_BEGIN", "SNAPSHOT", "SNAPSHOT_END"]);
  });

  it("tells an error as its last line", async () => {
    const lines = (await (await get("/v1/events?type=breaks")).text()).trim().split("\n");
    expect(lines).toHaveLength(4);
    expect(JSON.parse(lines[3] ?? "")).toMatchObject({ error: { code: 8, details: [{ reason: "SLOW_CONSUMER" }] } });
  });

  it("has the status of an error that comes before the first message", async () => {
    const response = await get("/v1/events?type=broken");
    expect(await refusal(response)).toMatchObject({ status: 429, reason: "SLOW_CONSUMER" });
  });

  it("is Server-Sent Events for who accepts them, with kind and resume token", async () => {
    const response = await get("/v1/events?type=ends", { accept: "text/event-stream" });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(response.headers.get("cache-control")).toBe("no-store");
    const events = (await response.text()).split("\n\n");
    expect(events[0]).toBe('event: SNAPSHOT_BEGIN\ndata: {"kind":"SNAPSHOT_BEGIN"}');
    expect(events[2]).toBe('event: SNAPSHOT_END\nid: 7\ndata: {"kind":"SNAPSHOT_END","resumeToken":"7"}');
  });

  it("tells an error as a last event", async () => {
    const text = await (await get("/v1/events?type=breaks", { accept: "text/event-stream" })).text();
    expect(text.split("\n\n").at(-2)).toMatch(/^event: error\ndata: \{"code":8,/);
  });

  it("goes on behind Last-Event-ID, which wins over the URL", async () => {
    await (
      await get("/v1/events?type=ends&resume_token=3", { accept: "text/event-stream", "last-event-id": "7" })
    ).text();
    expect(f.requests[0]?.request).toMatchObject({ resumeToken: "7" });
    await (await get("/v1/events?type=ends&resume_token=3")).text();
    expect(f.requests[1]?.request).toMatchObject({ resumeToken: "3" });
  });

  it("shows that it is alive when it is silent", async () => {
    const connection = await raw(
      f.number,
      `GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: ${bearer.authorization}\r\nAccept: text/event-stream\r\n\r\n`,
    );
    await connection.until("\r\n:\n\n");
    connection.socket.destroy();
    await expect.poll(() => f.streams()).toBe(0);
  });

  it("begins and ends at once for HEAD", async () => {
    const response = await fetch(`${f.url}/v1/events`, { method: "HEAD", headers: bearer });
    expect(response.status).toBe(200);
    await expect.poll(() => f.streams()).toBe(0);
  });
});
