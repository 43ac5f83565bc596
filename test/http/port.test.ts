import { createServer } from "node:net";
import { fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { type Call, callKey } from "../../src/interceptors/context.ts";
import { bearer, type Fixture, missing, startPort, token } from "./fixture.ts";
import { grpcClient } from "./grpc-js.ts";
import { raw } from "./raw.ts";

const { getWorkflow, pauseWorkflow, watchWorkflows } = MissionControl.method;
const rpc = "/missioncontrol.v1.MissionControl";

function transports(baseUrl: string, headers: Record<string, string> = bearer): Record<string, Transport> {
  const withHeaders: Interceptor = (next) => (req) => {
    for (const [name, value] of Object.entries(headers)) req.header.set(name, value);
    return next(req);
  };
  const options = { baseUrl, interceptors: [withHeaders], acceptCompression: [] };
  return {
    grpc: createGrpcTransport(options),
    "grpc-web over HTTP/1.1": createGrpcWebTransport({ ...options, httpVersion: "1.1" }),
    "grpc-web over HTTP/2": createGrpcWebTransport({ ...options, httpVersion: "2" }),
    "connect over HTTP/1.1": createConnectTransport({ ...options, httpVersion: "1.1" }),
    "connect over HTTP/2, JSON": createConnectTransport({ ...options, httpVersion: "2", useBinaryFormat: false }),
  };
}

const names = Object.keys(transports("http://x"));

function reasonOf(error: unknown): string | undefined {
  return ConnectError.from(error).findDetails(ErrorInfoSchema)[0]?.reason;
}

describe("the port", () => {
  let f: Fixture;
  beforeAll(async () => {
    f = await startPort();
  });
  afterAll(() => f.port.close(0));
  afterEach(() => {
    f.requests.length = 0;
    f.chained.length = 0;
    f.refused.length = 0;
  });
  const client = (name: string, headers?: Record<string, string>) =>
    createClient(MissionControl, transports(f.url, headers)[name] as Transport);

  describe.each(names)("on %s", (name) => {
    it("answers a unary call through the chain, with x-request-id", async () => {
      let id: string | null = null;
      const answer = await client(name).getWorkflow(
        { workflowId: "restate:inv_1" },
        { headers: { "x-request-id": `id-${name.length}` }, onHeader: (header) => (id = header.get("x-request-id")) },
      );
      expect(answer.workflow?.workflowId).toBe("restate:inv_1");
      expect(id).toBe(`id-${name.length}`);
      expect(f.chained).toMatchObject([
        {
          id,
          protocol: name.split(" ")[0],
          method: "missioncontrol.v1.MissionControl/GetWorkflow",
          source: "127.0.0.1",
        },
      ]);
      expect(f.refused).toEqual([]);
    });

    it("carries the error of a service with its ErrorInfo", async () => {
      const error = await client(name).getWorkflow({ workflowId: missing }).catch(ConnectError.from);
      expect(error).toMatchObject({ code: Code.NotFound, rawMessage: `no engine knows ${missing}` });
      expect(reasonOf(error)).toBe("WORKFLOW_NOT_FOUND");
      expect(f.refused).toEqual([]);
    });

    it("streams, and tells a stream's error behind its messages", async () => {
      const kinds: number[] = [];
      const failed = (async () => {
        for await (const { kind } of client(name).watchWorkflows({ type: ["breaks"] })) kinds.push(kind);
      })();
      await expect(failed).rejects.toMatchObject({ code: Code.ResourceExhausted });
      expect(kinds).toEqual([1, 2, 3]);
    });

    it("refuses a unary call and a stream without a token, and records both", async () => {
      const anonymous = client(name, {});
      const unary = await anonymous.getWorkflow({ workflowId: "x" }).catch(ConnectError.from);
      const stream = await anonymous.watchWorkflows({})[Symbol.asyncIterator]().next().catch(ConnectError.from);
      for (const error of [unary, stream]) {
        expect(error).toMatchObject({ code: Code.Unauthenticated });
        expect(reasonOf(error)).toBe("TOKEN_MISSING");
      }
      expect(f.refused.map(({ call }) => [call.protocol, call.method])).toEqual([
        [name.split(" ")[0], "missioncontrol.v1.MissionControl/GetWorkflow"],
        [name.split(" ")[0], "missioncontrol.v1.MissionControl/WatchWorkflows"],
      ]);
      expect(f.chained).toEqual([]);
    });

    it("refuses a token that cannot be one", async () => {
      const error = await client(name, { authorization: "Bearer nonsense" }).getHealth({}).catch(ConnectError.from);
      expect(error).toMatchObject({ code: Code.Unauthenticated });
      expect(reasonOf(error)).toBe("TOKEN_MALFORMED");
    });

    it("refuses a message that is too large, and records it", async () => {
      const error = await client(name)
        .pauseWorkflow({ workflowId: "x", reason: "r".repeat(1024 * 1024 + 1) })
        .catch(ConnectError.from);
      expect(error).toMatchObject({ code: Code.ResourceExhausted });
      expect(reasonOf(error)).toBe("MESSAGE_TOO_LARGE");
      expect(f.refused).toHaveLength(1);
      expect(f.requests).toEqual([]);
    });

    it("refuses a deadline beyond the cap, and records it", async () => {
      const error = await client(name).getHealth({}, { timeoutMs: 3_600_000 }).catch(ConnectError.from);
      expect(error).toMatchObject({ code: Code.InvalidArgument });
      expect(f.refused).toHaveLength(1);
    });

    it("ends a call at its deadline", async () => {
      const call = client(name).pauseWorkflow({ workflowId: "x", reason: "hang" }, { timeoutMs: 100 });
      await expect(call).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    });

    it("ends a stream whose client leaves", async () => {
      const controller = new AbortController();
      const stream = client(name).watchWorkflows({}, { signal: controller.signal })[Symbol.asyncIterator]();
      await stream.next();
      expect(f.streams()).toBe(1);
      controller.abort();
      await expect.poll(() => f.streams()).toBe(0);
    });
  });

  it("serves grpc-js: unary, errors with details, streams", async () => {
    const grpc = grpcClient(f.url);
    try {
      const { message, metadata } = await grpc.unary(getWorkflow, { workflowId: "restate:inv_1" });
      expect(message.workflow?.workflowId).toBe("restate:inv_1");
      expect(metadata.get("x-request-id")).toHaveLength(1);

      const error = await grpc.unary(getWorkflow, { workflowId: missing }).catch((e) => e);
      expect(error).toMatchObject({ code: 5, details: `no engine knows ${missing}` });
      const status = fromBinary(StatusSchema, error.metadata.get("grpc-status-details-bin")[0]);
      expect(status.details[0]?.typeUrl).toBe("type.googleapis.com/google.rpc.ErrorInfo");

      const kinds: number[] = [];
      for await (const { kind } of grpc.serverStream(watchWorkflows, { type: ["ends"] })) kinds.push(kind);
      expect(kinds).toEqual([1, 2, 3]);

      await expect(grpc.unary(getWorkflow, { workflowId: "x" }, {})).rejects.toMatchObject({ code: 16 });
      await expect(
        grpc.unary({ ...getWorkflow, name: "Nonsense" } as typeof getWorkflow, { workflowId: "x" }),
      ).rejects.toMatchObject({ code: 12, details: expect.stringContaining("MissionControl/Nonsense") });
      expect(f.refused.map(({ error }) => reasonOf(error))).toEqual(["TOKEN_MISSING", "UNKNOWN_METHOD"]);
    } finally {
      grpc.close();
    }
  });

  it("takes gzip from grpc-js, and nothing that unpacks to more than a message may have", async () => {
    const grpc = grpcClient(f.url, { "grpc.default_compression_algorithm": 2 });
    try {
      const { message } = await grpc.unary(pauseWorkflow, { workflowId: "x", reason: "r".repeat(5_000) });
      expect(message.action).toBe("pause");
      const before = process.memoryUsage().rss;
      const bomb = grpc.unary(pauseWorkflow, { workflowId: "x", reason: "r".repeat(64 * 1024 * 1024) });
      await expect(bomb).rejects.toMatchObject({ code: 8 });
      // The client packs 64 MiB in this very process; four times that would be the server unpacking them as well.
      expect(process.memoryUsage().rss - before).toBeLessThan(400 * 1024 * 1024);
      expect(f.requests).toHaveLength(1);
    } finally {
      grpc.close();
    }
  });

  it("speaks gRPC-Web by fetch, with the trailers in the body", async () => {
    const response = await fetch(`${f.url}${rpc}/GetHealth`, {
      method: "POST",
      headers: { ...bearer, "content-type": "application/grpc-web+proto" },
      body: new Uint8Array(5),
    });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/grpc-web+proto");
    expect(Buffer.from(await response.arrayBuffer()).toString("latin1")).toMatch(/\x80.{4}grpc-status: 0/s);
  });

  describe("before any body is read", () => {
    // A client that announces a huge body and sends little of it gets its answer all the same.
    const request = (path: string, contentType: string, authorization = "") =>
      `POST ${path} HTTP/1.1\r\nHost: x\r\n${authorization}Content-Type: ${contentType}\r\nContent-Length: 1000000000\r\n\r\nxxxxx`;

    it.each([
      ["grpc", `${rpc}/GetHealth`, "application/grpc+proto", "grpc-status: 16"],
      ["grpc-web", `${rpc}/GetHealth`, "application/grpc-web+proto", "grpc-status: 16"],
      ["connect", `${rpc}/GetHealth`, "application/json", "HTTP/1.1 401"],
      ["connect", `${rpc}/WatchWorkflows`, "application/connect+json", '"code":"unauthenticated"'],
      ["rest", "/v1/workflows/x/pause", "application/json", "HTTP/1.1 401"],
      ["rest", "/nowhere", "application/json", "HTTP/1.1 401"],
    ])("%s refuses who has no token (%s, %s), and hangs up", async (protocol, path, contentType, expected) => {
      const connection = await raw(f.number, request(path, contentType));
      await connection.until(expected);
      expect(f.refused).toMatchObject([{ call: { protocol }, error: { code: Code.Unauthenticated } }]);
      expect(await connection.closed()).toBeLessThan(5_000);
    });

    it("does not ask a client to go on with a body that nobody wants", async () => {
      const expecting = request("/v1/workflows/x/pause", "application/json").replace("xxxxx", "");
      const connection = await raw(f.number, expecting.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"));
      expect(await connection.until("TOKEN_MISSING")).not.toContain("100 Continue");
    });

    it("asks a client to go on that has a token", async () => {
      const body = '{"reason":"r"}';
      const connection = await raw(
        f.number,
        `POST /v1/workflows/x/pause HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`,
      );
      await connection.until("100 Continue");
      connection.socket.write(body);
      await connection.until("HTTP/1.1 200");
      connection.socket.destroy();
    });

    it("refuses two Authorization headers", async () => {
      const twice = `Authorization: Bearer ${token}\r\n`.repeat(2);
      const connection = await raw(f.number, request("/v1/workflows/x/pause", "application/json", twice));
      await connection.until("TOKEN_MALFORMED");
    });
  });

  describe("refuses and records", () => {
    const post = (
      path: string,
      contentType: string,
      body: string | Uint8Array<ArrayBuffer>,
      headers: Record<string, string> = bearer,
    ) => fetch(f.url + path, { method: "POST", headers: { ...headers, "content-type": contentType }, body });
    const recorded = () => f.refused.map(({ call, error }) => [call.protocol, call.method, reasonOf(error)]);

    it("a body that is not JSON", async () => {
      const response = await post(`${rpc}/GetHealth`, "application/json", "{");
      expect(response.status).toBe(400);
      expect(recorded()).toEqual([["connect", "missioncontrol.v1.MissionControl/GetHealth", "INVALID_ARGUMENT"]]);
    });

    it("a body that is not the message, on gRPC and gRPC-Web", async () => {
      const garbage = Uint8Array.of(0, 0, 0, 0, 3, 0xff, 0xff, 0xff);
      for (const type of ["grpc", "grpc-web"]) {
        const response = await post(`${rpc}/GetHealth`, `application/${type}+proto`, garbage);
        expect(response.status).toBe(200);
      }
      expect(recorded().map(([protocol, , reason]) => [protocol, reason])).toEqual([
        ["grpc", "INVALID_ARGUMENT"],
        ["grpc-web", "INVALID_ARGUMENT"],
      ]);
    });

    it("a misspelled field", async () => {
      const response = await post(`${rpc}/PauseWorkflow`, "application/json", '{"validate_olny":true}');
      expect(response.status).toBe(400);
      expect(await response.text()).toContain("validate_olny");
      expect(recorded()).toHaveLength(1);
    });

    it.each([
      ["a path that is not there", "/v2/nothing", 404, "UNKNOWN_PATH", "rest", "POST /v2/nothing"],
      [
        "a content type that is not known",
        `${rpc}/GetHealth`,
        415,
        "UNSUPPORTED_MEDIA_TYPE",
        "connect",
        `${rpc}/GetHealth`.slice(1),
      ],
    ])("%s", async (_, path, status, reason, protocol, method) => {
      const response = await post(path, "text/plain", "hello");
      expect(response.status).toBe(status);
      expect(await response.json()).toMatchObject({ details: [{ reason, domain: "missioncontrol" }] });
      expect(response.headers.get("x-request-id")).toBe(f.refused[0]?.call.id);
      expect(recorded()).toEqual([[protocol, method, reason]]);
    });

    it("an RPC that is not there, on Connect", async () => {
      const headers = { ...bearer, "connect-protocol-version": "1" };
      const response = await post(`${rpc}/Nothing`, "application/json", "{}", headers);
      expect(await response.json()).toMatchObject({ code: "unimplemented" });
      expect(recorded()).toMatchObject([["connect", expect.anything(), "UNKNOWN_METHOD"]]);
    });

    it("GET on an RPC", async () => {
      const response = await fetch(`${f.url}${rpc}/GetHealth`, { headers: bearer });
      expect(response.status).toBe(405);
      expect(response.headers.get("allow")).toBe("POST");
      expect(recorded()).toMatchObject([["connect", expect.anything(), "METHOD_NOT_ALLOWED"]]);
    });

    it("brotli, naming what is understood instead", async () => {
      const response = await post(`${rpc}/GetHealth`, "application/json", "{}", {
        ...bearer,
        "content-encoding": "br",
      });
      expect(await response.json()).toMatchObject({ code: "unimplemented", message: expect.stringContaining("gzip") });
      expect(recorded()).toMatchObject([["connect", expect.anything(), "UNSUPPORTED_ENCODING"]]);
    });

    it("streaming both ways over HTTP/1.1", async () => {
      const response = await post("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "application/grpc", "");
      expect(response.headers.get("content-type")).toBe("application/grpc+proto");
      expect(recorded()).toMatchObject([["grpc", expect.anything(), "UNSUPPORTED_MEDIA_TYPE"]]);
    });

    it("a client that leaves in the middle of its body", async () => {
      const connection = await raw(
        f.number,
        `POST ${rpc}/GetHealth HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`,
      );
      await new Promise((resolve) => setTimeout(resolve, 50));
      connection.socket.destroy();
      await expect.poll(() => recorded().length).toBe(1);
      expect(f.chained).toEqual([]);
    });
  });

  it("takes an x-request-id only where it is sane", async () => {
    for (const id of ["a b", "x".repeat(129), "<script>"]) {
      const response = await fetch(`${f.url}/v1/health`, { headers: { ...bearer, "x-request-id": id } });
      expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    }
  });

  it("survives URLs and hosts that are none", async () => {
    for (const target of ["//", "http://evil/livez", "*", "/%", "/v1/workflows/%zz", "/\x7f"]) {
      const connection = await raw(
        f.number,
        `GET ${target} HTTP/1.1\r\nHost: [\r\nAuthorization: Bearer ${token}\r\nConnection: close\r\n\r\n`,
      );
      await connection.closed();
      expect(connection.received()).toMatch(/^HTTP\/1\.1 40[04]/);
    }
    expect((await fetch(`${f.url}/livez`)).status).toBe(200);
  });
});

describe("a port whose ledger is down", () => {
  const down = () => startPort({ onRefused: () => Promise.reject(new Error("disk full")) });

  it("answers no refusal but LEDGER_UNAVAILABLE, on any protocol", async () => {
    const f = await down();
    try {
      for (const transport of Object.values(transports(f.url, {}))) {
        const error = await createClient(MissionControl, transport).getHealth({}).catch(ConnectError.from);
        expect(error).toMatchObject({ code: Code.Unavailable });
        expect(reasonOf(error)).toBe("LEDGER_UNAVAILABLE");
      }
      const response = await fetch(`${f.url}/v1/health`);
      expect(response.status).toBe(503);
      expect(await response.json()).toMatchObject({ code: 14, details: [{ reason: "LEDGER_UNAVAILABLE" }] });
    } finally {
      await f.port.close(0);
    }
  });
});

describe("a port whose chain forgets the ledger", () => {
  it("lets no answer out", async () => {
    const refused: Call[] = [];
    const forgetful: Interceptor = (next) => (req) => {
      expect(req.contextValues.get(callKey)?.audited).toBe(false);
      return next(req);
    };
    const f = await startPort({
      interceptors: [forgetful],
      onRefused: async (call) => {
        refused.push(call);
      },
    });
    try {
      for (const transport of Object.values(transports(f.url))) {
        const client = createClient(MissionControl, transport);
        await expect(client.getHealth({})).rejects.toMatchObject({ code: Code.Internal });
        await expect(client.watchWorkflows({})[Symbol.asyncIterator]().next()).rejects.toMatchObject({
          code: Code.Internal,
        });
      }
      expect((await fetch(`${f.url}/v1/health`, { headers: bearer })).status).toBe(500);
      expect((await fetch(`${f.url}/v1/events`, { headers: bearer })).status).toBe(500);
      expect(refused).toHaveLength(2 * names.length + 2);
    } finally {
      await f.port.close(0);
    }
  });
});

describe("listening", () => {
  it("tells that the port is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => other.once("listening", resolve));
    const { port } = other.address() as { port: number };
    await expect(startPort({ port })).rejects.toMatchObject({ code: "EADDRINUSE" });
    other.close();
  });
});
