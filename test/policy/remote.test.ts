import http from "node:http";
import net from "node:net";
import { pino } from "pino";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { type RemoteConfig, RemotePoint, type UnreachableRule } from "../../src/policy/remote.ts";
import { as, pause, workflow } from "./question.ts";
import { listening, nobody } from "./remote/sockets.ts";

const lines: { msg: string; level: number; subject?: string; why?: string }[] = [];
const log = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
/** For what is to be answered: a busy machine takes its time. */
const deadlineMs = 5_000;

function remote(url: string, more: Partial<RemoteConfig> = {}): RemotePoint {
  const point = new RemotePoint({ name: "kos", form: "authzen", url: new URL(url), deadlineMs, ...more }, log);
  onTestFinished(() => point.close());
  return point;
}

/** One whose answers the test decides on: a status, and what is in the body. */
async function pdp(answer: (count: number) => { status?: number; body?: unknown } | undefined) {
  let count = 0;
  const url = await listening(
    http.createServer((req, res) => {
      const { status = 200, body = { decision: true } } = answer(++count) ?? {};
      if (status === 0) req.socket.destroy();
      else {
        res.writeHead(status, { "content-type": "application/json", "x-request-id": req.headers["x-request-id"] });
        res.end(JSON.stringify(body));
      }
    }),
  );
  return { url, count: () => count };
}

afterEach(() => {
  lines.length = 0;
  vi.useRealTimers();
});

describe("within the deadline it is asked again", () => {
  test.each([0, 502, 503, 504])("where nobody answers (%i), at most twice", async (status) => {
    const back = await pdp((count) => (count < 3 ? { status } : {}));
    expect(await remote(back.url).decide(pause)).toMatchObject({ outcome: "allowed" });
    expect(back.count()).toBe(3);
    const away = await pdp(() => ({ status }));
    expect(await remote(away.url).decide(pause)).toMatchObject({ outcome: "unreachable" });
    expect(away.count()).toBe(3);
  });

  test("and not where there was an answer, however unclear", async () => {
    const { url, count } = await pdp((n) => (n === 1 ? { body: { decision: "true" } } : {}));
    expect(await remote(url).decide(pause)).toMatchObject({ outcome: "failed" });
    expect(count()).toBe(1);
  });
});

describe("after five failures in a row", () => {
  test("it is left alone, all is denied at once, and one call tries when its time has come", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    let broken = true;
    const { url, count } = await pdp(() => (broken ? { status: 500 } : {}));
    const point = remote(url);
    for (let n = 0; n < 5; n++) await point.decide(pause);
    expect(count()).toBe(5);
    expect(point.report()).toMatchObject({ status: "unhealthy", message: expect.stringContaining("HTTP 500") });
    const denied = await point.decide(pause);
    expect(denied).toMatchObject({ outcome: "failed" });
    expect(denied.message).toMatch(
      /failed 5 times in a row and is left alone for a while; the last time: it answered HTTP 500/,
    );
    expect(count()).toBe(5);
    vi.setSystemTime(Date.now() + 5_000);
    expect(await point.decide(pause)).toMatchObject({ outcome: "failed" });
    expect(count()).toBe(6);
    // That was the one that tried.
    await point.decide(pause);
    expect(count()).toBe(6);
    broken = false;
    vi.setSystemTime(Date.now() + 5_000);
    expect(await Promise.all([point.decide(pause), point.decide(pause)])).toMatchObject([
      { outcome: "allowed" },
      { outcome: "allowed" },
    ]);
    expect(point.report().status).toBe("healthy");
    expect(lines.map(({ msg }) => msg)).toEqual([
      "policy: a remote gives no clean answer",
      "policy: a remote is left alone for a while, all is denied",
      "policy: a remote is left alone for a while, all is denied",
      "policy: a remote answers again",
    ]);
  });

  test("callers who left are not among the failures", async () => {
    const { url, count } = await pdp(() => undefined);
    const silent = await listening(net.createServer());
    const point = remote(silent);
    for (let n = 0; n < 8; n++) {
      const leaving = new AbortController();
      const decision = point.decide(pause, leaving.signal);
      leaving.abort();
      expect(await decision).toMatchObject({ outcome: "failed", message: expect.stringContaining("the caller left") });
    }
    expect(point.report().status).toBe("healthy");
    expect([await remote(url).decide(pause), count()]).toMatchObject([{ outcome: "allowed" }, 1]);
  });
});

describe("an answer is used again", () => {
  test("only where it says for how long, for the very same question, until its time is over", async () => {
    const { url, count } = await pdp((n) => ({ body: { decision: n === 1, context: { ttl: 0.3 } } }));
    const point = remote(url);
    expect(await point.decide(pause)).toMatchObject({ outcome: "allowed", cached: false });
    expect(await point.decide({ ...pause, time: new Date(Date.now() + 1) })).toMatchObject({
      outcome: "allowed",
      cached: true,
    });
    expect(count()).toBe(1);
    for (const other of [
      { action: "runtime.resume" },
      { principal: as("sre_admin") },
      { principal: { ...pause.principal, subject: "bob" } },
      { principal: { ...pause.principal, issuer: "another" } },
      { workflow: { ...workflow, labels: { team: "another" } } },
      { workflow: { ...workflow, workflowId: "restate:inv_2" } },
      { workflow: undefined },
      { reason: "another" },
      { emergency: true },
      { ticket: "INC-1" },
      { source: "127.0.0.2" },
      { brake: { brakeId: "", matched: 1, radius: 1, everything: false, emergency: false, own: true, staged: false } },
    ]) {
      expect(await point.decide({ ...pause, ...other })).toMatchObject({ outcome: "denied", cached: false });
    }
    await expect.poll(async () => (await point.decide(pause)).outcome).toBe("denied");
  });

  test.each([[undefined], [0], [-1], ["60"], [null], [Number.MIN_VALUE]])("never with a ttl of %j", async (ttl) => {
    const { url, count } = await pdp(() => ({ body: { decision: true, context: { ttl } } }));
    const point = remote(url);
    await point.decide(pause);
    await new Promise((resolve) => setImmediate(resolve));
    await point.decide(pause);
    expect(count()).toBe(2);
  });
});

describe("where it cannot be asked", () => {
  const emergencies: UnreachableRule = { actions: ["runtime.pause"], roles: ["sre_admin"], emergencyOnly: true };
  const emergency = { ...pause, principal: as("sre_admin"), emergency: true };

  test("nothing goes on by default", async () => {
    const point = remote(await nobody(net.createServer()));
    expect(await point.decide(emergency)).toMatchObject({ outcome: "unreachable" });
  });

  test("what is configured goes on, loudly, and nothing else", async () => {
    const point = remote(await nobody(net.createServer()), { whenUnreachable: [emergencies] });
    const decision = await point.decide(emergency);
    expect(decision).toMatchObject({ outcome: "bypassed", policyIds: [] });
    expect(decision.message).toMatch(
      /^allowed WITHOUT kos, as configured for when it cannot be asked; kos cannot be asked: ECONNREFUSED|connect ECONN/,
    );
    expect(lines).toContainEqual(
      expect.objectContaining({ level: 50, msg: expect.stringMatching(/^POLICY BYPASSED/), subject: "alice" }),
    );
    expect(point.report().message).toMatch(/; 1 calls went on without it, the last at 2/);
    for (const other of [
      { emergency: false },
      { principal: as("sre") },
      { action: "runtime.resume" },
      { action: "runtime.brake" },
    ]) {
      expect(await point.decide({ ...emergency, ...other })).toMatchObject({ outcome: "unreachable" });
    }
    expect(point.report()).toMatchObject({
      status: "unhealthy",
      message: expect.stringContaining("; 1 calls went on"),
    });
    // Also while it is left alone.
    expect(await point.decide(emergency)).toMatchObject({ outcome: "bypassed" });
  });

  test("a question that nothing follows from is answered without the noise", async () => {
    const point = remote(await nobody(net.createServer()), { whenUnreachable: [emergencies] });
    expect(await point.decide({ ...emergency, hypothetical: true })).toMatchObject({ outcome: "bypassed" });
    expect(lines.filter(({ msg }) => msg.startsWith("POLICY BYPASSED"))).toEqual([]);
    expect(point.report().message).not.toContain("went on");
  });

  test("whoever answers nonsense was asked: then it does not go on", async () => {
    for (const answer of [{ status: 500 }, { status: 403 }, { body: { decision: "true" } }, { body: [] }]) {
      const { url } = await pdp(() => answer);
      const point = remote(url, { whenUnreachable: [emergencies] });
      for (let n = 0; n < 7; n++) expect(await point.decide(emergency)).toMatchObject({ outcome: "failed" });
    }
  });

  test("a no is a no", async () => {
    const { url } = await pdp(() => ({ body: { decision: false } }));
    const point = remote(url, { whenUnreachable: [emergencies] });
    expect(await point.decide(emergency)).toMatchObject({ outcome: "denied" });
  });
});
