import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { raw } from "../http/raw.ts";
import { attacks } from "./attacks.ts";
import { type IdentityPort, startIdentityPort } from "./port.ts";
import { audience, issuer, jwks, token } from "./tokens.ts";

const rpc = "/missioncontrol.v1.MissionControl/PauseWorkflow";
/** Nothing of it is ever sent. */
const bodyBytes = 1_000_000;

let port: IdentityPort;
let session: ClientHttp2Session;
beforeAll(async () => {
  port = await startIdentityPort({ issuers: [{ issuer, audiences: [audience], jwks }] });
  session = connect(port.url);
});
afterAll(async () => {
  session.destroy();
  await port.close();
});

/** Announces a body that never comes, and tells how the server answers: "401", "grpc-status 16". */
type Send = (authorization: string, callId: string) => Promise<string>;

const http1 =
  (path: string, contentType: string): Send =>
  async (authorization, callId) => {
    const lines = [
      `POST ${path} HTTP/1.1`,
      "Host: x",
      `Authorization: ${authorization}`,
      `X-Request-Id: ${callId}`,
      `Content-Type: ${contentType}`,
      "Content-Encoding: gzip",
      `Content-Length: ${bodyBytes}`,
    ];
    const connection = await raw(port.number, `${lines.join("\r\n")}\r\n\r\n`);
    const answer = await connection.until("\r\n\r\n");
    connection.socket.destroy();
    const grpcStatus = /grpc-status: (\d+)/.exec(answer)?.[1];
    return grpcStatus ? `grpc-status ${grpcStatus}` : String(/^HTTP\/1.1 (\d+)/.exec(answer)?.[1]);
  };

const http2: Send = async (authorization, callId) => {
  const stream = session.request(
    { ":method": "POST", ":path": rpc, "content-type": "application/grpc", authorization, "x-request-id": callId },
    { endStream: false },
  );
  stream.resume();
  const [trailers] = await once(stream, "trailers");
  stream.destroy();
  return `grpc-status ${trailers["grpc-status"]}`;
};

const doors: readonly [name: string, send: Send, refused: string][] = [
  ["grpc", http2, "grpc-status 16"],
  ["grpc-web", http1(rpc, "application/grpc-web+proto"), "grpc-status 16"],
  ["connect", http1(rpc, "application/json"), "401"],
  ["rest", http1("/v1/workflows/restate:inv_1/pause", "application/json"), "401"],
];

describe.each(doors)("by %s, a token with", (protocol, send, refused) => {
  // More than the headers of a request may be is refused as that, by Node, before it is one.
  const sent = attacks.filter(([name]) => name !== "7 MB");

  it.each(sent)("%s is refused before the body has come, and recorded once: %s", async (_, reason, make) => {
    const callId = randomUUID();
    expect(await send(`Bearer ${make()}`, callId)).toBe(refused);
    const entries = await port.entries(callId);
    // The guard refuses some of these for their shape alone, and HTTP/2 takes no value that ends in a space.
    const shape = /^TOKEN_(INVALID|MALFORMED|MISSING)$/;
    const told = reason === "TOKEN_EXPIRED" ? reason : expect.stringMatching(shape);
    expect(entries).toMatchObject([
      { phase: Phase.DENIED, errorReason: told, protocol, action: "runtime.pause", principal: { subject: "" } },
    ]);
    expect(port.reached).toEqual([]);
  });
});

it("the table has at least 60 of them, and a good token passes each door", async () => {
  expect(attacks.length).toBeGreaterThanOrEqual(60);
  const answer = await fetch(`${port.url}/v1/workflows`, { headers: { authorization: `Bearer ${token()}` } });
  expect(answer.status).toBe(200);
  expect(port.reached).toEqual(["ListWorkflows"]);
});

it("no refusal was an accident: nothing was logged", () => {
  expect(port.lines).toEqual([]);
});
