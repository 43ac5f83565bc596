import { writeFileSync } from "node:fs";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import https from "node:https";
import net, { type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { pino } from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Outcome } from "../../../src/policy/decision.ts";
import { type RemoteConfig, RemotePoint } from "../../../src/policy/remote.ts";
import { createAuthority } from "../../fixture/certificates.ts";
import { pause, workflow } from "../question.ts";
import { listening, nobody } from "./sockets.ts";
import { within } from "./within.ts";

const log = pino({ level: "silent" });
const deadlineMs = 250;
/** For what is to be answered: a busy machine takes its time. */
/** For what comes to its end by itself: longer than a busy machine takes for it. */
const patient = { deadlineMs: 10_000 };
const authority = createAuthority();

function remote(url: string, more: Partial<RemoteConfig> = {}): RemotePoint {
  const point = new RemotePoint({ name: "kos", form: "authzen", url: new URL(url), deadlineMs, ...more }, log);
  onTestFinished(() => point.close());
  return point;
}

type Handler = (req: IncomingMessage, res: ServerResponse, body: string) => void;

/** An HTTP server that answers so. */
function serving(handler: Handler): Promise<string> {
  const server = http.createServer((req, res) => {
    res.on("error", () => undefined);
    void text(req).then(
      (body) => handler(req, res, body),
      () => undefined,
    );
  });
  return listening(server);
}

/** Bytes to whoever has sent a request. */
function saying(say: (socket: Socket, requestId: string) => void): Promise<string> {
  return listening(
    net.createServer((socket) => {
      let seen = "";
      socket.on("data", (data) => {
        seen += data;
        const requestId = /x-request-id: (\S+)/i.exec(seen)?.[1];
        if (requestId !== undefined && seen.includes("\r\n\r\n")) {
          seen = "";
          say(socket, requestId);
        }
      });
    }),
  );
}

const yes = JSON.stringify({ decision: true });
/** A clean answer, but for what is given. */
const answering =
  (
    body: string | Buffer,
    { status = 200, headers = {} }: { status?: number; headers?: http.OutgoingHttpHeaders } = {},
  ) =>
  (): Promise<string> =>
    serving((req, res) => {
      const clean = { "content-type": "application/json", "x-request-id": req.headers["x-request-id"] };
      res.writeHead(status, { ...clean, ...headers }).end(body);
    });
const head = (requestId: string, length: number | "chunked") =>
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-ID: ${requestId}\r\n${
    length === "chunked" ? "Transfer-Encoding: chunked" : `Content-Length: ${length}`
  }\r\n\r\n`;

interface Fault {
  readonly name: string;
  readonly start: () => Promise<string>;
  readonly outcome: Outcome;
  readonly why: RegExp;
  readonly more?: Partial<RemoteConfig>;
}
const unclear = (name: string, start: Fault["start"], why: RegExp, more: Partial<RemoteConfig> = {}): Fault => ({
  ...{ name, start, why },
  outcome: "failed",
  more: { ...patient, ...more },
});
const unreachable = (name: string, start: Fault["start"], why: RegExp): Fault => ({
  ...{ name, start, why },
  outcome: "unreachable",
  // Only what never ends is ended by the short deadline: a busy machine must not turn a refusal into a lateness.
  more: why === late ? {} : patient,
});
const late = /no answer within 250 ms/;

const faults: readonly Fault[] = [
  unreachable("nobody listens", () => nobody(net.createServer()), /ECONNREFUSED/),
  unreachable(
    "a connection that is closed at once",
    () => listening(net.createServer((s) => s.end())),
    /hang up|ECONN/,
  ),
  unreachable("a connection that is reset", () => saying((s) => s.resetAndDestroy()), /ECONNRESET|hang up/),
  unreachable("nothing is ever answered", () => listening(net.createServer()), late),
  unreachable("the request is read, and nothing is answered", () => serving(() => undefined), late),
  unreachable("a half-closed connection without an answer", () => saying((s) => s.end()), /hang up|ECONN/),
  unreachable("headers that never end", () => saying(dripping("HTTP/1.1 200 OK\r\n", "X-A: b\r\n")), late),
  unreachable(
    "word after word that the answer is to come",
    () => saying(dripping("", "HTTP/1.1 102 Processing\r\n\r\n")),
    late,
  ),
  unreachable("a body that comes byte by byte", () => saying((s, id) => dripping(head(id, 1_000), " ")(s)), late),
  unreachable("a body that never comes", () => saying((s, id) => s.write(head(id, yes.length))), late),
  unreachable("HTTP 502", answering("bad gateway", { status: 502 }), /HTTP 502/),
  unreachable("HTTP 503 with a yes", answering(yes, { status: 503 }), /HTTP 503/),
  unreachable("HTTP 504", answering("", { status: 504 }), /HTTP 504/),
  unclear("HTTP 500 with a yes", answering(yes, { status: 500 }), /HTTP 500/),
  unclear("HTTP 403 with a yes", answering(yes, { status: 403 }), /HTTP 403/),
  unclear("HTTP 401", answering("{}", { status: 401 }), /HTTP 401/),
  unclear("HTTP 201 with a yes", answering(yes, { status: 201 }), /HTTP 201/),
  unclear("HTTP 204", answering("", { status: 204 }), /HTTP 204/),
  unclear("a redirect to where there is a yes", redirecting, /HTTP 307: redirects are not followed/),
  unclear(
    "HTML with 200",
    answering("<html>ok</html>", { headers: { "content-type": "text/html" } }),
    /text\/html, not JSON/,
  ),
  unclear("HTML that says that it is JSON", answering("<html>ok</html>"), /not JSON/),
  unclear(
    "a yes as text/plain",
    answering(yes, { headers: { "content-type": "text/plain" } }),
    /text\/plain, not JSON/,
  ),
  unclear("a yes of no type", answering(yes, { headers: { "content-type": "" } }), /no type, not JSON/),
  unclear('the text "true"', answering('{"decision": "true"}'), /"decision" is "true"/),
  unclear("the number 1", answering('{"decision": 1}'), /"decision" is 1/),
  unclear("null", answering('{"decision": null}'), /"decision" is null/),
  unclear("no decision", answering('{"allowed": true}'), /"decision" is missing/),
  unclear("another spelling", answering('{"Decision": true}'), /"decision" is missing/),
  unclear("a list", answering(`[${yes}]`), /not a JSON object/),
  unclear("a bare true", answering("true"), /not a JSON object/),
  unclear("a no and a yes", answering('{"decision": false, "decision": true}'), /says something twice/),
  unclear(
    "a no, and a yes in disguise",
    answering('{"decision": false, "d\\u0065cision": true}'),
    /says something twice/,
  ),
  unclear("a yes with rubbish behind it", answering(`${yes}\n${yes}`), /not JSON/),
  unclear("an empty body", answering(""), /not JSON/),
  unclear("half of a yes", answering('{"decision": tr'), /not JSON/),
  unclear(
    "bytes that are no text",
    answering(Buffer.from([...Buffer.from('{"decision": true, "x": "'), 0xff, 0x22, 0x7d])),
    /not UTF-8/,
  ),
  unclear("a context that is none", answering('{"decision": true, "context": "ok"}'), /"context" is not a JSON object/),
  unclear(
    "an answer to another question",
    answering(yes, { headers: { "x-request-id": "another" } }),
    /another question/,
  ),
  unclear("an answer to nobody's question", answering(yes, { headers: { "x-request-id": "" } }), /another question/),
  unclear("an answer to two questions", twice, /another question/),
  unclear(
    "a yes in gzip",
    answering(gzipSync(yes), { headers: { "content-encoding": "gzip" } }),
    /content-encoding gzip/,
  ),
  unclear(
    "a yes in brotli",
    answering(brotliCompressSync(yes), { headers: { "content-encoding": "br" } }),
    /content-encoding br/,
  ),
  unclear("a body that is too large", answering(`${yes}${" ".repeat(80_000)}`), /larger than/),
  unclear("a body without an end", () => saying(flooding), /larger than/),
  unclear("a body that is cut off", () => saying((s, id) => s.end(`${head(id, 1_000)}${yes}`)), /cut off/),
  unclear(
    "chunks that are cut off",
    () => saying((s, id) => s.end(`${head(id, "chunked")}${yes.length.toString(16)}\r\n${yes}\r\n`)),
    /cut off/,
  ),
  unclear("headers that are too large", answering(yes, { headers: { "x-a": "b".repeat(20_000) } }), /Header/i),
  unclear("no HTTP", () => saying((s) => s.end("220 mail.example.com ESMTP\r\n")), /Parse Error/),
  unclear(
    "a switch of protocols",
    () => saying((s) => s.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")),
    /another protocol/,
  ),
  unclear("a certificate from somebody", () => secure("127.0.0.1"), /certificate/),
  unclear("a certificate that has expired", () => secure("127.0.0.1", -1), /expired/, { ca: authority.cert }),
  unclear(
    "no TLS where there should be",
    async () => (await answering(yes)()).replace("http:", "https:"),
    /SSL|wrong version|packet/i,
  ),
  unclear("no token to show", answering(yes), /token .* cannot be read/, { tokenFile: "/nowhere/token" }),
  unclear("an empty token to show", answering(yes), /holds none/, { tokenFile: "/dev/null" }),
];

function dripping(first: string, next: string) {
  return (socket: Socket) => {
    socket.write(first);
    const timer = setInterval(() => socket.write(next), 20);
    socket.once("close", () => clearInterval(timer));
  };
}

function flooding(socket: Socket, requestId: string): void {
  socket.write(head(requestId, "chunked"));
  const chunk = `4000\r\n${" ".repeat(0x4000)}\r\n`;
  const more = () => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on("drain", more);
  more();
}

async function redirecting(): Promise<string> {
  const target = await answering(yes)();
  return answering(yes, { status: 307, headers: { location: `${target}/access/v1/evaluation` } })();
}

function twice(): Promise<string> {
  return serving((req, res) => {
    const id = req.headers["x-request-id"] as string;
    res.writeHead(200, { "content-type": "application/json", "x-request-id": [id, id] }).end(yes);
  });
}

function secure(name: string, days?: number): Promise<string> {
  const { cert, key } = authority.issue(name, days);
  const server = https.createServer({ cert, key }, (req, res) => {
    res.writeHead(200, { "content-type": "application/json", "x-request-id": req.headers["x-request-id"] }).end(yes);
  });
  return listening(server, "https");
}

describe.concurrent("is denied within the deadline, and told why:", () => {
  test.each(faults)("$name", async ({ start, outcome, why, more }) => {
    const point = remote(await start(), more);
    const decision = await within((more?.deadlineMs ?? deadlineMs) * 2, point.decide(pause));
    expect(decision).toMatchObject({ point: "kos", outcome, policyIds: [] });
    expect(decision.message).toMatch(why);
    expect(decision.message).toMatch(/^kos (cannot be asked|gave no clean answer): .*; that is a no$/);
  });
});

test("there are faults enough", () => expect(faults.length).toBeGreaterThanOrEqual(25));

describe("of many questions in one request, all are denied where", () => {
  const three = [pause, { ...pause, action: "runtime.resume" }, pause];
  test.each<[string, unknown, RegExp]>([
    ["there are fewer answers", { evaluations: [{ decision: true }, { decision: true }] }, /answered 2 of 3 questions/],
    ["there are more answers", { evaluations: Array(4).fill({ decision: true }) }, /answered 4 of 3/],
    ["there is one answer for all", { decision: true }, /answered 0 of 3/],
    [
      "one of the answers is none",
      { evaluations: [{ decision: true }, { decision: "true" }, { decision: true }] },
      /"true"/,
    ],
    [
      "one of the answers is null",
      { evaluations: [{ decision: true }, null, { decision: true }] },
      /not a JSON object/,
    ],
  ])("%s", async (_, body, why) => {
    const decisions = await remote(await answering(JSON.stringify(body))(), patient).decideAll(three);
    expect(decisions).toHaveLength(3);
    for (const { outcome, message } of decisions) {
      expect(outcome).toBe("failed");
      expect(message).toMatch(why);
    }
  });
});

describe("a clean answer", () => {
  test("is taken as it is, with message and policies; the question has all that is known", async () => {
    const seen: { url: string | undefined; headers: http.IncomingHttpHeaders; body: unknown }[] = [];
    const url = await serving((req, res, body) => {
      seen.push({ url: req.url, headers: req.headers, body: JSON.parse(body) });
      const decision = seen.length === 1;
      res.writeHead(200, {
        "content-type": "application/json; charset=utf-8",
        "x-request-id": req.headers["x-request-id"],
      });
      res.end(
        JSON.stringify({ decision, context: { reason_user: { en: "not on Sundays" }, policy_ids: ["p1", "p2"] } }),
      );
    });
    const point = remote(`${url}/pdp/`, { ...patient, tokenFile: tokenFile("s3cret") });
    const brake = {
      brakeId: "br_1",
      matched: 7,
      radius: Infinity,
      everything: false,
      emergency: true,
      own: true,
      staged: false,
    };
    expect(await point.decide({ ...pause, ticket: "INC-42", client: "mctl/1", brake })).toMatchObject({
      outcome: "allowed",
      policyIds: ["p1", "p2"],
    });
    expect(await point.decide(pause)).toMatchObject({
      outcome: "denied",
      message: "not on Sundays",
      policyIds: ["p1", "p2"],
    });
    expect(seen[0]?.url).toBe("/pdp/access/v1/evaluation");
    expect(seen[0]?.headers).toMatchObject({ authorization: "Bearer s3cret", "accept-encoding": "identity" });
    expect(seen[0]?.body).toEqual({
      subject: {
        type: "user",
        id: "alice",
        properties: { issuer: "i", roles: ["sre"], machine: false, authentication: { method: "jwt" } },
      },
      action: { name: "runtime.pause" },
      resource: { type: "workflow", id: "restate:inv_1" },
      context: {
        reason: "it pays twice",
        emergency: false,
        ticket: "INC-42",
        time: "2026-03-01T13:30:00.000Z",
        hour: 13,
        weekday: 7,
        protocol: "grpc",
        source_address: "127.0.0.1",
        client_version: "mctl/1",
        brake: { id: "br_1", matched: 7, everything: false, emergency: true, own: true, staged: false },
        workflow: {
          ...{
            id: "restate:inv_1",
            engine: "restate",
            type: "RefundAgent",
            name: "RefundAgent/run",
            status: "RUNNING",
          },
          ...{ owner: "payments-team", labels: { team: "payments", tier: "1" } },
        },
      },
    });
  });

  test("to many questions comes in as few requests as may be, each answer to its question, on kept connections", async () => {
    let requests = 0;
    const connections = new Set<Socket>();
    const url = await serving((req, res, body) => {
      requests++;
      connections.add(req.socket);
      const { evaluations } = JSON.parse(body) as { evaluations: { resource: { id: string } }[] };
      res.writeHead(200, { "content-type": "application/json", "x-request-id": req.headers["x-request-id"] });
      res.end(
        JSON.stringify({ evaluations: evaluations.map(({ resource }) => ({ decision: !resource.id.endsWith("7") })) }),
      );
    });
    const questions = Array.from({ length: 1_000 }, (_, n) => ({
      ...pause,
      workflow: { ...workflow, workflowId: `restate:inv_${n}` },
    }));
    const point = remote(url, patient);
    for (let round = 1; round <= 3; round++) {
      const decisions = await point.decideAll(questions);
      expect(decisions.map(({ outcome }) => outcome === "allowed")).toEqual(questions.map((_, n) => n % 10 !== 7));
      expect(requests).toBe(round * 10);
    }
    expect(connections.size).toBeLessThanOrEqual(16);
  });

  test("comes over TLS from whom the authority vouches for, to whom has a certificate of its own", async () => {
    const server = authority.issue("kos");
    const own = authority.issue("mission-control");
    const options = { ...server, ca: authority.cert, requestCert: true, rejectUnauthorized: true };
    const url = await listening(
      https.createServer(options, (req, res) => {
        res
          .writeHead(200, { "content-type": "application/json", "x-request-id": req.headers["x-request-id"] })
          .end(yes);
      }),
      "https",
    );
    const known = { ...patient, ca: authority.cert };
    expect(await remote(url, { ...known, cert: own.cert, key: own.key }).decide(pause)).toMatchObject({
      outcome: "allowed",
    });
    expect((await remote(url, known).decide(pause)).outcome).not.toBe("allowed");
  });
});

function tokenFile(token: string): string {
  const file = `${process.env.TMPDIR ?? "/tmp"}/mc-token-${process.pid}`;
  writeFileSync(file, `${token}\n`);
  return file;
}
