import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import http2, { constants, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import { readRules } from "../../../examples/kos/rules.ts";
import { type KosOptions, startKos } from "../../../examples/kos/server.ts";
import {
  CheckPolicyRequestSchema,
  CheckPolicyResponseSchema,
} from "../../../gen/kos/policy/v1/contextual_policy_pb.ts";
import type { Outcome } from "../../../src/policy/decision.ts";
import { type RemoteConfig, RemotePoint } from "../../../src/policy/remote.ts";
import { createAuthority } from "../../fixture/certificates.ts";
import { as, pause, workflow } from "../question.ts";
import { listening, nobody } from "./sockets.ts";
import { within } from "./within.ts";

const log = pino({ level: "silent" });
const deadlineMs = 250;
/** For what comes to its end by itself: longer than a busy machine takes for it. */
const patient = { deadlineMs: 10_000 };
const authority = createAuthority();
const rules = readRules(join(import.meta.dirname, "../../../examples/kos/rules.json"));

function remote(url: string, more: Partial<RemoteConfig> = {}): RemotePoint {
  const point = new RemotePoint({ name: "kos", form: "grpc", url: new URL(url), deadlineMs, ...more }, log);
  onTestFinished(() => point.close());
  return point;
}

async function kos(options: Partial<KosOptions> = {}): Promise<string> {
  const { url, close } = await startKos({ rules, ...options });
  onTestFinished(close);
  return url;
}

/** An HTTP/2 server that says what it is told to, frame by frame, to whoever has sent a whole request. */
function saying(
  say: (stream: ServerHttp2Stream, requestId: string, session: ServerHttp2Session) => void,
): Promise<string> {
  const server = http2.createServer();
  server.on("sessionError", () => undefined);
  server.on("stream", (stream) => {
    const chunks: Buffer[] = [];
    stream.on("error", () => undefined);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      const { requestId } = fromBinary(CheckPolicyRequestSchema, Buffer.concat(chunks).subarray(5));
      if (stream.session) say(stream, requestId, stream.session as ServerHttp2Session);
    });
  });
  return listening(server as unknown as net.Server);
}

/** A gRPC frame. */
function frame(message: Uint8Array, flags = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flags;
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}
const response = (init: MessageInitShape<typeof CheckPolicyResponseSchema>) =>
  toBinary(CheckPolicyResponseSchema, create(CheckPolicyResponseSchema, init));
const yes = frame(response({ allowed: true }));
const grpc = { ":status": 200, "content-type": "application/grpc" };

/** Head, body, and then trailers, or none. */
const answering =
  (body: Buffer, trailers?: http2.OutgoingHttpHeaders, head: http2.OutgoingHttpHeaders = grpc) =>
  () =>
    saying((stream) => {
      stream.on("wantTrailers", () => stream.sendTrailers(trailers ?? {}));
      stream.respond(head, { waitForTrailers: trailers !== undefined });
      stream.end(body);
    });
const status = (code: number, message = "") => ({ "grpc-status": String(code), "grpc-message": message });

/** A head and this, and no end. */
const open = (body: Buffer) => (stream: ServerHttp2Stream) => {
  stream.respond(grpc);
  stream.write(body);
};

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
  unreachable("nobody listens", () => nobody(net.createServer()), /UNAVAILABLE: .*ECONNREFUSED/),
  unreachable("a connection that says nothing", () => listening(net.createServer()), late),
  unreachable("a call that is never answered", () => saying(() => undefined), late),
  unreachable("a head, and nothing behind it", () => saying((stream) => stream.respond(grpc)), late),
  unreachable("a yes without an end", () => saying(open(yes)), late),
  unreachable("half of a frame", () => saying(open(yes.subarray(0, 6))), late),
  unreachable("UNAVAILABLE", answering(Buffer.of(), status(14, "restarting")), /UNAVAILABLE: restarting/),
  unreachable("UNAVAILABLE behind a yes", answering(yes, status(14)), /UNAVAILABLE/),
  unreachable("DEADLINE_EXCEEDED", answering(Buffer.of(), status(4, "too slow")), /DEADLINE_EXCEEDED: too slow/),
  unreachable("HTTP 503", answering(Buffer.of(), undefined, { ":status": 503 }), /UNAVAILABLE/),
  unclear("PERMISSION_DENIED", answering(Buffer.of(), status(7, "who are you?")), /PERMISSION_DENIED: who are you\?/),
  unclear("INTERNAL behind a yes", answering(yes, status(13, "oh")), /INTERNAL: oh/),
  unclear("a status that there is not, behind a yes", answering(yes, status(99)), /kos gave/),
  unclear("a status that is no number, behind a yes", answering(yes, { "grpc-status": "fine" }), /kos gave/),
  unclear("no status behind a yes", answering(yes), /kos gave/),
  unclear("trailers without a status behind a yes", answering(yes, { "x-a": "b" }), /kos gave/),
  unclear("no message", answering(Buffer.of(), status(0)), /kos gave/),
  unclear("two messages", answering(Buffer.concat([yes, yes]), status(0)), /kos gave/),
  unclear("a message that is cut off", answering(yes.subarray(0, 6), status(0)), /kos gave/),
  unclear("a message that does not parse", answering(frame(Buffer.of(0x08)), status(0)), /kos gave/),
  unclear(
    "a message that is too large",
    answering(frame(response({ allowed: true, message: "x".repeat(70_000) })), status(0)),
    /RESOURCE_EXHAUSTED/,
  ),
  unclear("a frame that says that it is huge", answering(Buffer.of(0, 0x7f, 0xff, 0xff, 0xff), status(0)), /kos gave/),
  unclear(
    "a yes in gzip",
    answering(frame(gzipSync(response({ allowed: true })), 1), status(0), { ...grpc, "grpc-encoding": "gzip" }),
    /kos gave/,
  ),
  unclear(
    "a yes that says that it is compressed",
    answering(frame(response({ allowed: true }), 1), status(0)),
    /kos gave/,
  ),
  unclear(
    "HTML with 200",
    answering(Buffer.from("<html>ok</html>"), undefined, { ":status": 200, "content-type": "text/html" }),
    /kos gave/,
  ),
  unclear("a yes as HTML", answering(yes, status(0), { ":status": 200, "content-type": "text/html" }), /kos gave/),
  unclear(
    "a yes as JSON",
    answering(Buffer.from('{"allowed": true}'), status(0), { ":status": 200, "content-type": "application/json" }),
    /kos gave/,
  ),
  unclear(
    "a redirect",
    answering(yes, status(0), { ...grpc, ":status": 307, location: "http://127.0.0.1:1/" }),
    /kos gave/,
  ),
  unclear("HTTP 403 with a yes", answering(yes, status(0), { ...grpc, ":status": 403 }), /kos gave/),
  unclear("HTTP 500 with a yes", answering(yes, status(0), { ...grpc, ":status": 500 }), /kos gave/),
  unclear(
    "an answer to another question",
    answering(frame(response({ allowed: true, requestId: "another" })), status(0)),
    /another question/,
  ),
  unclear(
    "a stream that is reset behind a yes",
    () =>
      saying((stream) => {
        stream.respond(grpc);
        stream.write(yes, () => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
      }),
    /kos gave/,
  ),
  unclear(
    "a connection that ends behind a yes",
    () =>
      saying((stream, _, session) => {
        stream.respond(grpc);
        stream.write(yes, () => session.destroy());
      }),
    /kos (gave|cannot)/,
  ),
  unclear(
    "another service",
    () => listening(http2.createServer((_req, res) => res.writeHead(404).end()) as unknown as net.Server),
    /UNIMPLEMENTED/,
  ),
  unclear(
    "a server that speaks HTTP/1.1",
    () => listening(http.createServer((_req, res) => res.end("ok"))),
    /kos gave/,
  ),
  unclear(
    "a server that speaks neither",
    () => listening(net.createServer((s) => void s.write("220 mail.example.com ESMTP\r\n"))),
    /kos gave/,
  ),
  unclear("a certificate from somebody", () => kos({ tls: authority.issue("kos") }), /certificate/i),
  unclear("a certificate that has expired", () => kos({ tls: authority.issue("kos", -1) }), /expired/i, {
    ca: authority.cert,
  }),
  unclear("no TLS where there should be", async () => (await kos()).replace("http:", "https:"), /kos gave/),
  unclear("a token that it does not know", () => kos({ token: "another" }), /UNAUTHENTICATED/),
  unclear("no token to show", () => kos(), /cannot be read/, { tokenFile: "/nowhere/token" }),
];

describe.concurrent("is denied within the deadline, and told why:", () => {
  test.each(faults)("$name", async ({ start, outcome, why, more }) => {
    const point = remote(await start(), more);
    const decision = await within((more?.deadlineMs ?? deadlineMs) * 2, point.decide(pause));
    expect(decision.message).toMatch(why);
    expect(decision.message).toMatch(/^kos (cannot be asked|gave no clean answer): .*; that is a no$/);
    expect(decision).toMatchObject({ point: "kos", outcome, policyIds: [] });
  });
});

test("there are faults enough", () => expect(faults.length).toBeGreaterThanOrEqual(25));

describe("a clean answer", () => {
  test("of the example K-OS is taken as it is, with message and policies", async () => {
    const point = remote(await kos(), patient);
    const resume = { ...pause, action: "runtime.resume" };
    expect(await point.decide(pause)).toMatchObject({ outcome: "allowed", policyIds: ["kos/default"] });
    expect(await point.decide(resume)).toMatchObject({
      outcome: "denied",
      policyIds: ["kos/payments-change-board"],
      message: "runs of payments go on when the change board says so: ask in #payments-changes",
    });
    expect(await point.decide({ ...resume, principal: as("sre_admin") })).toMatchObject({ outcome: "allowed" });
    const brake = {
      brakeId: "",
      matched: 5_001,
      radius: 50,
      everything: true,
      emergency: false,
      own: true,
      staged: false,
    };
    const fleet = { ...pause, action: "runtime.brake", workflow: undefined };
    expect((await point.decide({ ...fleet, brake })).policyIds).toEqual(["kos/no-fleet-brakes-above-5000"]);
    expect(await point.decide({ ...fleet, brake: { ...brake, matched: 5_000 } })).toMatchObject({ outcome: "allowed" });
    expect(point.report()).toMatchObject({ status: "healthy", message: expect.stringMatching(/^answered in \d+ ms/) });
  });

  test("a bare no is a no, and one connection carries all questions", async () => {
    const sessions = new Set<ServerHttp2Session>();
    const url = await saying((stream, requestId, session) => {
      sessions.add(session);
      stream.on("wantTrailers", () => stream.sendTrailers(status(0)));
      stream.respond(grpc, { waitForTrailers: true });
      stream.end(frame(response({ requestId })));
    });
    const point = remote(url, patient);
    const questions = Array.from({ length: 200 }, (_, n) => ({
      ...pause,
      workflow: { ...workflow, workflowId: `a:${n}` },
    }));
    const decisions = await point.decideAll(questions);
    expect(decisions).toHaveLength(200);
    for (const decision of decisions) {
      expect(decision).toMatchObject({ outcome: "denied", message: "kos says no, and not why", policyIds: [] });
    }
    expect(sessions.size).toBe(1);
  });

  test("comes over TLS with certificates on both sides, and a token that is read anew for each question", async () => {
    const own = authority.issue("mission-control");
    const url = await kos({ tls: { ...authority.issue("kos"), clientCa: authority.cert }, token: "s3cret" });
    const dir = mkdtempSync(join(tmpdir(), "mc-kos-"));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    const tokenFile = join(dir, "token");
    writeFileSync(tokenFile, "old");
    const point = remote(url, { ca: authority.cert, cert: own.cert, key: own.key, tokenFile, ...patient });
    expect((await point.decide(pause)).message).toMatch(/UNAUTHENTICATED/);
    writeFileSync(tokenFile, "s3cret\n");
    expect(await point.decide(pause)).toMatchObject({ outcome: "allowed" });
    const stranger = remote(url, { ca: authority.cert, tokenFile, ...patient });
    expect((await stranger.decide(pause)).outcome).not.toBe("allowed");
  });
});
