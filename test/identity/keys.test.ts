import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { IssuerConfig } from "../../src/identity/issuer.ts";
import { createVerifier, type Verifier } from "../../src/identity/verify.ts";
import { createLog } from "../../src/log.ts";
import { fakeClock, type Provider, startProvider } from "./provider.ts";

const minute = 60_000;
const hour = 60 * minute;

let clock: ReturnType<typeof fakeClock>;
let provider: Provider;
let verifier: Verifier;
beforeEach(async () => {
  clock = fakeClock();
  provider = await startProvider(clock);
});
afterEach(async () => {
  verifier.close();
  await provider.close();
});

async function open(more: Partial<IssuerConfig> = {}): Promise<void> {
  const config = {
    issuer: provider.url,
    audiences: ["mission-control"],
    jwks: { url: `${provider.url}/keys` },
    ...more,
  };
  verifier = await createVerifier({
    issuers: [config],
    roles: ["sre"],
    log: createLog("silent"),
    insecureLoopback: true,
    clock,
  });
}
const reasonOf = (token: string) =>
  verifier.verify(token).then(
    () => "OK",
    (error: { reason?: string }) => error.reason,
  );
const health = () => verifier.keys()[0]?.state;
/** Until a fetch in the background has ended: what it brought is seen from outside. */
const until = (look: () => unknown) => expect.poll(look).toBe(true);

describe("a rotation", () => {
  it("is picked up at once, by the first token with the new key", async () => {
    await open();
    expect(await reasonOf(provider.sign("first"))).toBe("OK");
    provider.rotate("first", "second");
    clock.advance(30_000);
    expect(await reasonOf(provider.sign("second"))).toBe("OK");
    expect(await reasonOf(provider.sign("first"))).toBe("OK");
    expect(provider.asked).toHaveLength(2);
  });

  it("costs one fetch, however many tokens with new keys come at the same time", async () => {
    await open();
    provider.rotate("second");
    clock.advance(30_000);
    const tokens = Array.from({ length: 50 }, () => provider.sign("second"));
    expect(new Set(await Promise.all(tokens.map(reasonOf)))).toEqual(new Set(["OK"]));
    expect(provider.asked).toHaveLength(2);
  });

  it("ends what the old key had let in, though it was remembered, and raises doubt", async () => {
    await open();
    const token = provider.sign("first");
    expect(await reasonOf(token)).toBe("OK");
    let doubts = 0;
    verifier.onDoubt(() => doubts++);
    provider.rotate("second");
    clock.advance(30_000);
    expect(await reasonOf(provider.sign("second"))).toBe("OK");
    expect(doubts).toBe(1);
    expect(await reasonOf(token)).toBe("TOKEN_INVALID");
  });

  it("is seen without any call with a new key, when keys are five minutes old", async () => {
    await open();
    const token = provider.sign("first");
    provider.rotate("second");
    clock.advance(5 * minute);
    await reasonOf(token);
    await until(() => provider.asked.length === 2);
    await expect.poll(() => reasonOf(token)).toBe("TOKEN_INVALID");
  });

  it("to another key under the same kid is a rotation", async () => {
    await open();
    const token = provider.sign("first");
    expect(await reasonOf(token)).toBe("OK");
    const other = await startProvider(clock);
    const keys = await (await fetch(`${other.url}/keys`)).text();
    await other.close();
    provider.behave = (_, res) => res.end(keys);
    clock.advance(5 * minute);
    await reasonOf(token);
    await expect.poll(() => reasonOf(token)).toBe("TOKEN_INVALID");
  });
});

describe("keys that nobody has", () => {
  it("cannot cause more than one fetch in 30 s", async () => {
    await open();
    const attack = (n: number) =>
      Promise.all(Array.from({ length: n }, (_, i) => reasonOf(provider.sign(`random-${i}`))));
    for (let second = 0; second < 120; second++) {
      expect(new Set(await attack(5))).toEqual(new Set(["TOKEN_INVALID"]));
      clock.advance(1000);
    }
    // At the start, and after 30, 60 and 90 s.
    expect(provider.asked).toHaveLength(4);
    expect(await reasonOf(provider.sign("first"))).toBe("OK");
  });
});

describe("a provider that is down for hours, under load", () => {
  it("keeps nobody out for an hour, then everybody, and is asked twice a minute at the most, with health telling", async () => {
    await open();
    const before = provider.asked.length;
    expect(health()).toMatchObject({ status: "fresh" });
    provider.behave = "gone";
    const remembered = provider.sign("first", { exp: Math.floor(clock.date() / 1000) + 6 * 3600 });
    const seen: Record<string, Set<string | undefined>> = { hour: new Set(), later: new Set(), health: new Set() };
    for (let passed = 0; passed < 4 * hour; passed += 10_000) {
      const answers = await Promise.all([
        reasonOf(remembered),
        reasonOf(provider.sign("first")),
        reasonOf(provider.sign("unknown")).then((reason) => (reason === "OK" ? "let in" : undefined)),
      ]);
      const when = passed <= hour ? "hour" : "later";
      for (const answer of answers.slice(0, 2)) seen[when]?.add(answer);
      expect(answers[2]).toBeUndefined();
      seen.health?.add(health()?.status);
      clock.advance(10_000);
    }
    expect(seen.hour).toEqual(new Set(["OK"]));
    expect(seen.later).toEqual(new Set(["ISSUER_UNAVAILABLE"]));
    expect(seen.health).toEqual(new Set(["fresh", "stale", "down"]));
    expect(provider.asked.length - before).toBeLessThanOrEqual((4 * hour) / 30_000 + 1);
    expect(provider.asked.length - before).toBeGreaterThan(400);
    expect(health()).toMatchObject({ status: "down", message: expect.stringContaining("not heard since") });

    provider.behave = undefined;
    clock.advance(30_000);
    expect(await reasonOf(provider.sign("first"))).toBe("OK");
    expect(health()).toMatchObject({ status: "fresh" });
  }, 60_000);

  it("keeps out only its own callers, and from the very start until it answers", async () => {
    provider.behave = "gone";
    const second = await startProvider(clock);
    verifier = await createVerifier({
      issuers: [provider, second].map(({ url }) => ({
        issuer: url,
        audiences: ["mission-control"],
        jwks: { discovery: true },
      })),
      roles: ["sre"],
      log: createLog("silent"),
      insecureLoopback: true,
      clock,
    });
    expect(verifier.keys().map(({ state }) => state.status)).toEqual(["down", "fresh"]);
    expect(await reasonOf(second.sign("first"))).toBe("OK");
    expect(await reasonOf(provider.sign("first"))).toBe("ISSUER_UNAVAILABLE");
    provider.behave = undefined;
    expect(await reasonOf(provider.sign("first"))).toBe("ISSUER_UNAVAILABLE");
    clock.advance(30_000);
    expect(await reasonOf(provider.sign("first"))).toBe("OK");
    await second.close();
  });

  it("has one fetch in flight, though it takes its time", async () => {
    await open();
    const answers: (() => void)[] = [];
    provider.behave = (_, res) => answers.push(() => res.writeHead(503).end());
    clock.advance(30_000);
    const waiting = [reasonOf(provider.sign("a")), reasonOf(provider.sign("b"))];
    await until(() => answers.length === 1);
    clock.advance(10 * minute);
    waiting.push(reasonOf(provider.sign("c")));
    expect(await reasonOf(provider.sign("first"))).toBe("OK");
    for (const answer of answers) answer();
    expect(await Promise.all(waiting)).toEqual(["TOKEN_INVALID", "TOKEN_INVALID", "TOKEN_INVALID"]);
    expect(answers).toHaveLength(1);
    await until(() => health()?.status === "stale");
  });
});
