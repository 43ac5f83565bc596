import { afterEach, describe, expect, test } from "vitest";
import { bearer, type Fixture, startPort } from "./fixture.ts";
import { raw } from "./raw.ts";

const origin = "https://ops.example.com";
const stranger = "https://evil.example.com";

let f: Fixture;
afterEach(() => f.port.close(0));
const start = async (corsOrigins: readonly string[] | undefined = [origin]) => {
  f = await startPort({ corsOrigins });
};

/** As bytes on the wire: what fetch would add, hide or refuse to send is of no account. */
async function send(method: string, path: string, headers: Record<string, string>, body = "") {
  const lines = Object.entries({ host: "x", connection: "close", "content-length": String(body.length), ...headers });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const connection = await raw(f.number, `${method} ${path} HTTP/1.1\r\n${head}\r\n${body}`);
  await connection.closed();
  const [top = ""] = connection.received().split("\r\n\r\n");
  const [status = "", ...fields] = top.split("\r\n");
  const received = fields.map((line): [string, string] => {
    const at = line.indexOf(":");
    return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()];
  });
  return {
    status: Number(status.split(" ")[1]),
    headers: new Map(received),
    corsHeaders: received.filter(([name]) => name.startsWith("access-control-")),
  };
}
const preflight = (path: string, from: string, method = "POST") =>
  send("OPTIONS", path, {
    origin: from,
    "access-control-request-method": method,
    "access-control-request-headers": "authorization,content-type",
  });
const listOf = (text = "") => text.toLowerCase().split(/, */);

const list = "/missioncontrol.v1.MissionControl/ListWorkflows";
const calls: [string, string, string, Record<string, string>, string, number][] = [
  ["REST", "GET", "/v1/workflows", {}, "", 200],
  [
    "REST, a control call",
    "POST",
    "/v1/workflows/restate:inv_1/pause",
    { "content-type": "application/json" },
    '{"reason":"x"}',
    200,
  ],
  ["Connect", "POST", list, { "content-type": "application/json", "connect-protocol-version": "1" }, "{}", 200],
  ["gRPC-Web", "POST", list, { "content-type": "application/grpc-web+proto", "x-grpc-web": "1" }, "\0\0\0\0\0", 200],
];

describe("a preflight of a listed origin is answered without a token, and for as long as a browser remembers", () => {
  test.each(calls)("%s", async (_, method, path) => {
    await start();
    const answer = await preflight(path, origin, method);
    expect(answer.status).toBe(204);
    expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
    expect(listOf(answer.headers.get("access-control-allow-methods"))).toContain(method.toLowerCase());
    expect(listOf(answer.headers.get("access-control-allow-headers"))).toEqual(
      expect.arrayContaining([
        "authorization",
        "content-type",
        "connect-protocol-version",
        "connect-timeout-ms",
        "grpc-timeout",
        "x-grpc-web",
        "x-user-agent",
        "x-request-id",
      ]),
    );
    expect(answer.headers.get("access-control-max-age")).toBe("7200");
    expect(answer.headers.get("vary")).toBe("Origin");
    // Not a call: nothing is run, nothing is refused.
    expect([...f.chained, ...f.refused]).toEqual([]);
  });

  test("of probes and of an unknown path as well as there is something", async () => {
    await start();
    expect((await preflight("/grpc.health.v1.Health/Check", origin)).status).toBe(204);
    expect((await preflight("/v1/nowhere", origin)).status).toBe(401);
  });
});

describe("an answer to a listed origin may be read, with what the protocols say in headers", () => {
  test.each(calls)("%s", async (_, method, path, headers, body, status) => {
    await start();
    const answer = await send(method, path, { ...headers, ...bearer, origin }, body);
    expect(answer.status).toBe(status);
    expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
    expect(listOf(answer.headers.get("access-control-expose-headers"))).toEqual(
      expect.arrayContaining(["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id", "retry-after"]),
    );
    expect(answer.headers.get("vary")).toBe("Origin");
  });

  test("a refusal too: the page has to learn that its token is not good", async () => {
    await start();
    const answer = await send("GET", "/v1/workflows", { origin });
    expect(answer.status).toBe(401);
    expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
    expect(f.refused).toHaveLength(1);
  });
});

describe("any other origin gets no CORS headers, and caches are told that it matters", () => {
  const others = [
    ["another site", stranger],
    ["another scheme", "http://ops.example.com"],
    ["another port", `${origin}:8443`],
    ["a name that begins alike", `${origin}.evil.example`],
    ["another case", "https://OPS.example.com"],
    ["a sandboxed page", "null"],
    ["a wildcard", "*"],
    ["two of them", `${origin}, ${stranger}`],
    ["none", ""],
  ] as const;

  test.each(others)("%s", async (_, from) => {
    await start();
    const asked = await preflight("/v1/workflows", from, "GET");
    expect(asked.corsHeaders).toEqual([]);
    const answer = await send("GET", "/v1/workflows", { ...bearer, origin: from });
    expect(answer).toMatchObject({ status: 200, corsHeaders: [] });
    expect(answer.headers.get("vary")).toBe("Origin");
    const refused = await send("GET", "/v1/workflows", { origin: from });
    expect(refused).toMatchObject({ status: 401, corsHeaders: [] });
  });

  test("an Origin header that was sent twice", async () => {
    await start();
    const twice = `GET /v1/workflows HTTP/1.1\r\nhost: x\r\nconnection: close\r\norigin: ${origin}\r\norigin: ${stranger}\r\n\r\n`;
    const connection = await raw(f.number, twice);
    await connection.closed();
    expect(connection.received()).not.toMatch(/access-control/i);
  });
});

test("credentials of the browser's own are never allowed, and no answer has a *", async () => {
  await start();
  for (const [, method, path, headers, body] of calls) {
    for (const answer of [
      await preflight(path, origin, method),
      await send(method, path, { ...headers, ...bearer, origin }, body),
    ]) {
      expect(answer.headers.has("access-control-allow-credentials")).toBe(false);
      expect(answer.corsHeaders.map(([, value]) => value)).not.toContain("*");
    }
  }
});

test("without configured origins nothing of CORS is said to anybody", async () => {
  await start([]);
  expect((await preflight("/v1/workflows", origin, "GET")).corsHeaders).toEqual([]);
  const answer = await send("GET", "/v1/workflows", { ...bearer, origin });
  expect(answer).toMatchObject({ status: 200, corsHeaders: [] });
  expect(answer.headers.has("vary")).toBe(false);
});
