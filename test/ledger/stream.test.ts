import { once } from "node:events";
import { existsSync } from "node:fs";
import { appendFile, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Cursor } from "../../src/ledger/stream/cursor.ts";
import { JsonlSink } from "../../src/ledger/stream/jsonl-sink.ts";
import { OtlpSink } from "../../src/ledger/stream/otlp-sink.ts";
import type { Sink } from "../../src/ledger/stream/sink.ts";
import { LedgerStream, type StreamPace } from "../../src/ledger/stream/stream.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { entry } from "../store/entry.ts";

let dir: string;
let store: Store;
let stream: LedgerStream | undefined;
let lines: string[];
let leftOut: string[];
const log = pino({ level: "info" }, { write: (line: string) => lines.push(line) });
const quick: StreamPace = { batch: 10, deliverMs: 300, lookMs: 5, firstRetryMs: 5, lastRetryMs: 20 };
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "mc-stream-"));
  store = openSqlite(join(dir, "ledger.db"));
  lines = [];
  leftOut = [];
});
afterEach(async () => {
  await stream?.stop();
  await store.close();
  await rm(dir, { recursive: true });
});

function open(sink: Sink, pace: Partial<StreamPace> = {}): LedgerStream {
  const cursor = new Cursor(join(dir, "streams", sink.name));
  stream = new LedgerStream({
    ...{ store, sink, cursor, log, pace: { ...quick, ...pace } },
    onLeftOut: (message) => leftOut.push(message),
  });
  stream.start();
  return stream;
}
const write = (count: number) =>
  store.commit({ entries: Array.from({ length: count }, () => entry({ principal: { subject: "alice" } })) });
const delivered = (given: LedgerStream) => expect.poll(() => given.behind, { timeout: 10_000 }).toBe(0);
const upTo = (count: number) => Array.from({ length: count }, (_, at) => at + 1);

describe("to a file", () => {
  const path = () => join(dir, "siem", "ledger.jsonl");
  const told = async () =>
    (await readFile(path(), "utf8"))
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line));

  it("each entry is a line with its personal values, in order, once, and for its owner's eyes only", async () => {
    await write(35);
    await delivered(open(new JsonlSink("file", path())));
    await write(3);
    await delivered(stream as LedgerStream);
    const entries = await told();
    expect(entries.map(({ sequence }) => Number(sequence))).toEqual(upTo(38));
    expect(entries[0]).toMatchObject({ phase: "READ", principal: { subject: "alice" } });
    expect((await stat(path())).mode & 0o777).toBe(0o600);
  });

  it("a restart goes on where the cursor is; a file that was moved away is begun anew", async () => {
    await write(20);
    await delivered(open(new JsonlSink("file", path())));
    await stream?.stop();
    await rename(path(), `${path()}.1`);
    await write(5);
    await delivered(open(new JsonlSink("file", path())));
    expect((await told()).map(({ sequence }) => Number(sequence))).toEqual([21, 22, 23, 24, 25]);
  });

  it("what a crash cut off in the middle of a line comes again, on a line of its own", async () => {
    await write(10);
    await delivered(open(new JsonlSink("file", path())));
    await stream?.stop();
    await appendFile(path(), '{"entryId": "ae_cut');
    await write(1);
    await delivered(open(new JsonlSink("file", path())));
    const whole = (await readFile(path(), "utf8")).split("\n").filter((line) => line.endsWith("}"));
    expect(whole.map((line) => Number(JSON.parse(line).sequence))).toEqual(upTo(11));
  });

  it("where it cannot be written the stream waits, says why, and goes on", async () => {
    await writeFile(join(dir, "siem"), "a file where a folder has to be");
    await write(3);
    const waiting = open(new JsonlSink("file", path()));
    await expect.poll(() => waiting.fault).toMatch(/siem/);
    expect(waiting.behind).toBe(3);
    await rm(join(dir, "siem"));
    await delivered(waiting);
    await expect.poll(() => waiting.fault).toBeUndefined();
    expect(lines.map((line) => JSON.parse(line).msg)).toEqual([
      "the ledger cannot be streamed",
      "the ledger is streamed again",
    ]);
  });
});

describe("to an OpenTelemetry collector", () => {
  /** What the collector does with a request; by default it takes it. */
  let behave: "take" | "fail" | "hang" | "reject" | "refuse" | "lose the answer";
  /** What it answers to a delivery with that many records, or with these sequences; undefined: it takes it. */
  let answerTo: (sequences: readonly number[]) => { status: number; body?: string } | undefined;
  let taken: { sequence: number; record: Record<string, unknown> }[];
  let authorization: string | undefined;
  let collector: Server;
  let port: number;
  const listen = async (at = 0) => {
    collector = createServer((req, res) => {
      const chunks: Buffer[] = [];
      req.on("data", (chunk) => chunks.push(chunk));
      req.on("end", () => {
        authorization = req.headers.authorization;
        if (behave === "hang") return;
        if (behave === "fail") return res.writeHead(503).end();
        if (behave === "reject")
          return res.end('{"partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "too old"}}');
        if (behave === "refuse") return res.writeHead(400).end();
        const { resourceLogs } = JSON.parse(Buffer.concat(chunks).toString());
        const records: typeof taken = resourceLogs[0].scopeLogs[0].logRecords.map((record: { attributes: [] }) => {
          const { value } = record.attributes.find(({ key }) => key === "missioncontrol.sequence") as never;
          return { sequence: Number((value as { intValue: string }).intValue), record };
        });
        const answer = answerTo(records.map(({ sequence }) => sequence));
        if (answer) return res.writeHead(answer.status).end(answer.body);
        taken.push(...records);
        if (behave === "lose the answer") return res.destroy();
        return res.end("{}");
      });
    });
    collector.listen(at, "127.0.0.1");
    await once(collector, "listening");
    port = (collector.address() as AddressInfo).port;
  };
  beforeEach(async () => {
    behave = "take";
    answerTo = () => undefined;
    taken = [];
    await listen();
  });
  afterEach(() => {
    collector.closeAllConnections();
    collector.close();
  });
  const sink = (more = {}) =>
    new OtlpSink({ name: "otel", url: new URL(`http://127.0.0.1:${port}/v1/logs`), version: "test", ...more });
  const sequences = () => taken.map(({ sequence }) => sequence);

  it("each entry is a log record with the whole entry and what one searches by; refusals are warnings", async () => {
    await writeFile(join(dir, "token"), "of-the-collector\n");
    const denied = entry({
      phase: Phase.DENIED,
      action: "runtime.pause",
      errorReason: "ROLE_DENIED",
      principal: { subject: "mallory" },
    });
    await store.commit({ entries: [denied] });
    await delivered(open(sink({ tokenFile: join(dir, "token") })));
    expect(authorization).toBe("Bearer of-the-collector");
    expect(taken[0]?.record).toMatchObject({
      severityText: "WARN",
      eventName: "missioncontrol.ledger.denied",
      timeUnixNano: expect.stringMatching(/^\d{19}$/),
      attributes: expect.arrayContaining([
        { key: "missioncontrol.error_reason", value: { stringValue: "ROLE_DENIED" } },
        { key: "enduser.id", value: { stringValue: "mallory" } },
      ]),
    });
    const body = taken[0]?.record.body as { stringValue: string } | undefined;
    expect(JSON.parse(body?.stringValue ?? "")).toMatchObject({ entryId: denied.entryId, phase: "DENIED" });
  });

  it.each([
    ["status 400", { status: 400 }],
    ["a partial success", { status: 200, body: '{"partialSuccess": {"rejectedLogRecords": 1}}' }],
  ])(
    "an entry that is rejected (%s) is found, and left out loudly once one behind it is taken",
    async (_, rejection) => {
      answerTo = (all) => (all.includes(17) || all.includes(25) ? rejection : undefined);
      await write(25);
      const waiting = open(sink());
      await expect.poll(() => waiting.fault).toMatch(/entry 25 was rejected: the collector/);
      const taken24 = upTo(24).filter((sequence) => sequence !== 17);
      expect(sequences()).toEqual(taken24);
      expect(waiting).toMatchObject({ behind: 1, leftOut: { count: 1 } });
      expect(leftOut).toEqual([expect.stringMatching(/^entries 17 are left out of the stream otel: the collector/)]);
      await write(1);
      await delivered(waiting);
      expect(sequences()).toEqual([...taken24, 26]);
      expect(waiting).toMatchObject({ fault: undefined, leftOut: { count: 2 } });
      expect(lines.filter((line) => line.includes("ALARM"))).toHaveLength(2);
      expect(await readFile(join(dir, "streams", "otel"), "utf8")).toBe("26\n");
    },
  );

  it("a delivery that is too large for the collector comes in smaller ones", async () => {
    answerTo = (all) => (all.length > 3 ? { status: 413 } : undefined);
    await write(25);
    await delivered(open(sink()));
    expect(sequences()).toEqual(upTo(25));
    expect(leftOut).toEqual([]);
  });

  it.each(["fail", "hang", "reject", "refuse"] as const)(
    "while it does not take them (%s) nothing is skipped, and commits do not wait",
    async (how) => {
      behave = how;
      await write(25);
      const waiting = open(sink());
      await expect.poll(() => waiting.fault).toBeDefined();
      await write(5);
      expect(waiting.behind).toBe(30);
      expect(existsSync(join(dir, "streams", "otel"))).toBe(false);
      behave = "take";
      await delivered(waiting);
      // Where it begins to take them in the middle of a search for who is rejected, some come twice; in their order all the same.
      const firsts = [...new Set(sequences())];
      expect(firsts.toSorted((a, b) => a - b)).toEqual(upTo(30));
      const last = sequences().lastIndexOf(1);
      expect(sequences().slice(last)).toEqual(upTo(30));
      expect(leftOut).toEqual([]);
    },
  );

  it("an answer that is lost has its entries delivered again: each at least once, by the same entry_id", async () => {
    behave = "lose the answer";
    await write(12);
    const waiting = open(sink());
    await expect.poll(() => taken.length).toBeGreaterThan(10);
    behave = "take";
    await delivered(waiting);
    expect(new Set(sequences())).toEqual(new Set(upTo(12)));
    expect(taken.length).toBeGreaterThan(12);
    const last = sequences().slice(-12);
    expect(last).toEqual(last.toSorted((a, b) => a - b));
  });

  it("a collector that restarts, and a server that does, get all of them", async () => {
    await write(10);
    await delivered(open(sink()));
    collector.closeAllConnections();
    collector.close();
    await once(collector, "close");
    await write(10);
    await expect.poll(() => stream?.fault).toBeDefined();
    await stream?.stop();
    await listen(port);
    await write(5);
    await delivered(open(sink()));
    expect(sequences()).toEqual(upTo(25));
  });
});

it("a ledger that is shorter than what was streamed is streamed on from its end, with a word about it", async () => {
  await write(5);
  const cursor = new Cursor(join(dir, "streams", "file"));
  await cursor.write(100);
  const path = join(dir, "ledger.jsonl");
  await delivered(open(new JsonlSink("file", path)));
  await expect.poll(() => lines.length).toBe(1);
  await write(1);
  await expect.poll(() => existsSync(path)).toBe(true);
  await delivered(stream as LedgerStream);
  expect(JSON.parse(await readFile(path, "utf8")).sequence).toBe("6");
});
