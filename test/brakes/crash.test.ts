import { setTimeout as delay } from "node:timers/promises";
import { expect, onTestFailed, onTestFinished, test } from "vitest";
import { Brake_State as State } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { Workflow_Status as Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { startTestEngine, type TestEngine } from "../fixture/restate.ts";
import { type CrashCall, CrashOperator, sendAll } from "./crash-calls.ts";
import { brakesIn, cutOffAfterEffect, heldWrongly, toldWrongly } from "./crash-checks.ts";
import { CrashFleet, types } from "./crash-fleet.ts";
import { type Caller, startCrashServer } from "./crash-process.ts";
import { Random } from "./crash-random.ts";

/** The same seed makes the same requests and the same pauses before each crash; CRASH_SEED sets it. */
const seed = Number(process.env.CRASH_SEED ?? Date.now() % 1_000_000);
/** At how many points the server is killed; CRASH_POINTS sets it: `npm run bench -- crash` takes more. */
const serverPoints = Number(process.env.CRASH_POINTS ?? 50);
/** After a restart everything is as it should be within this time, ms. */
const settleMs = 30_000;
/** How long a test looks whether a step starts, after each crash, ms. */
const lookMs = 100;
const maxBrakes = 4;
const fleetSize = 12;

/** A small moving fleet, two people who brake it, and crashes. */
class CrashLoop {
  readonly random = new Random(seed);
  readonly fleet: CrashFleet;
  readonly operator: CrashOperator;
  readonly #engine: TestEngine;
  readonly #caller: Caller;

  constructor(engine: TestEngine, alice: Caller, sam: Caller) {
    this.#engine = engine;
    this.#caller = alice;
    this.fleet = new CrashFleet(engine, this.random);
    this.operator = new CrashOperator(alice, sam, this.random);
  }

  /** Requests and new workflows at random moments of the next tenth of a second, and a crash in the midst of it. */
  async round(crash: () => Promise<void>): Promise<void> {
    const open = await this.fleet.open();
    await this.fleet.start(Math.max(1, fleetSize - open.length));
    await this.fleet.signal(0.5);
    const calls = await this.#nextCalls();
    const under = calls.map(async (inOrder) => {
      await delay(this.random.below(100));
      for (const call of inOrder) await call.send();
    });
    under.push(this.fleet.start(1).catch(() => undefined));
    await delay(this.random.below(250));
    await crash();
    await Promise.all(under);
    await sendAll(calls.flat(), Date.now() + settleMs);
    await this.#repeatSome();
    await this.#settle();
    await this.#look();
  }

  /** Lets everything go and waits for the end of it all. */
  async end(rerun: boolean): Promise<void> {
    const deadline = Date.now() + 2 * settleMs;
    for (const brake of this.operator.known) brake.releasing = true;
    for (;;) {
      for (const { brakeId } of await brakesIn(this.#caller, State.ENGAGED, State.AWAITING_APPROVAL)) {
        await this.#caller.brakes.releaseBrake({ brakeId, reason: "the end" }).catch(() => undefined);
      }
      await this.fleet.signal(1);
      const open = await this.fleet.open();
      if (open.length === 0) break;
      if (Date.now() > deadline) throw new Error(`never ended: ${JSON.stringify(open)}`);
      await delay(100);
    }
    await this.#settle();
    expect(this.fleet.faults(rerun)).toEqual([]);
    expect(await toldWrongly(this.#caller, this.operator.calls)).toEqual([]);
    // The end of the last workflow is seen by the reconciler's next look.
    const unfinished = async () =>
      (await brakesIn(this.#caller)).filter(({ release }) => (release?.remaining ?? 1) > 0).map(({ reason }) => reason);
    await expect.poll(unfinished, { timeout: settleMs }).toEqual([]);
  }

  /** Calls to be made at the same time; those that need each other's answers in one list. */
  async #nextCalls(): Promise<CrashCall[][]> {
    const { random, operator } = this;
    const open = (await this.fleet.open()).map(({ id }) => id);
    // Nobody pauses what another resumes at the same time: the order of the two would decide.
    const resumable = new Set(
      operator.known.filter(({ call }) => call.what === "pause").flatMap((one) => one.workflowIds),
    );
    const pausable = open.filter((id) => !resumable.has(`restate:${id}`));
    const engaged = await brakesIn(this.#caller, State.ENGAGED, State.AWAITING_APPROVAL);
    const free = operator.known.filter(
      ({ releasing, call }) => !releasing && engaged.some(({ brakeId }) => brakeId === call.told?.brakeId),
    );
    const paused = free.filter(({ call }) => call.what === "pause");
    const fleets = free.filter(({ call }) => call.what !== "pause");
    const calls: CrashCall[][] = [];
    for (let n = 0; n < 3; n++) {
      const what = random.below(1);
      const release = fleets.pop();
      if (what < 0.35 && release?.call.told) calls.push([operator.release(release, release.call.told.brakeId)]);
      else if (what < 0.5 && paused.length > 0) calls.push([operator.resume(random.pick(paused).workflowIds[0] ?? "")]);
      else if (what < 0.7 && pausable.length > 0) calls.push([operator.pause(random.pick(pausable))]);
      else if (engaged.length < maxBrakes && what < 0.8) calls.push(operator.ask(types));
      else if (engaged.length < maxBrakes) calls.push([operator.engage(types, open)]);
    }
    return calls;
  }

  /** The same request_id gets the same answer, from before any crash. */
  async #repeatSome(): Promise<void> {
    const told = this.operator.calls.filter((call) => call.told !== undefined);
    for (const call of [...told.slice(-3), ...this.random.some(told, 2 / Math.max(1, told.length))]) {
      expect(await call.repeat(), call.reason).toMatchObject({
        brakeId: call.told?.brakeId,
        auditEntryId: call.told?.auditEntryId,
      });
    }
  }

  async #settle(): Promise<void> {
    const deadline = Date.now() + settleMs;
    for (;;) {
      const wrong = await heldWrongly(this.#caller, this.fleet, this.operator.known);
      if (wrong.length === 0) return;
      if (Date.now() > deadline) throw new Error(`not as it should be:\n${wrong.join("\n")}`);
      await delay(30);
    }
  }

  /** What brakes hold that nothing lets go by itself takes no step. */
  async #look(): Promise<void> {
    const lasting = new Set(
      (await brakesIn(this.#caller, State.ENGAGED))
        .filter(({ expireTime, release }) => expireTime === undefined && release === undefined)
        .map(({ brakeId }) => brakeId),
    );
    const { workflows } = await this.#caller.control.listWorkflows({ status: [Status.PAUSED], pageSize: 500 });
    const still = workflows.filter(({ holds }) => holds.some(({ brakeId }) => lasting.has(brakeId)));
    const since = Date.now();
    await delay(lookMs);
    const started = still.filter(
      ({ workflowId }) => this.#engine.steps.startedSince(workflowId.replace("restate:", ""), since) > 0,
    );
    expect(started.map(({ workflowId }) => workflowId)).toEqual([]);
  }
}

async function startLoop(virtualQueues: boolean) {
  const engine = await startTestEngine({ virtualQueues });
  onTestFinished(() => engine.stop());
  const server = await startCrashServer(engine.adminSocket);
  onTestFinished(() => server.stop());
  onTestFailed(() => void process.stdout.write(`CRASH_SEED=${seed}\n`));
  const alice = await server.callAs("alice", "sre_admin");
  const loop = new CrashLoop(engine, alice, await server.callAs("sam", "sre"));
  return { engine, server, alice, loop };
}

test.each([
  [serverPoints, "in the default mode", false],
  [Math.ceil(serverPoints / 4), "with virtual queues", true],
])(
  "the server killed at %i points, %s: every acknowledged brake holds, none is half released, nothing is done twice or unseen",
  async (points, _, virtualQueues) => {
    const { loop, server, alice } = await startLoop(virtualQueues);
    let kills = 0;
    const crash = async () => {
      await server.kill();
      kills++;
      const serving = server.start();
      // Now and then again, while it comes up.
      if (loop.random.below(1) < 0.25) {
        await delay(loop.random.below(150));
        await server.kill();
        kills++;
        await serving;
        expect(await server.start()).toBe(true);
      } else expect(await serving).toBe(true);
    };
    while (kills < points) await loop.round(crash);
    // With virtual queues each brake cuts steps off, and they run again.
    await loop.end(virtualQueues);
    const cutOff = loop.operator.calls.filter((call) => call.cutOff > 0).length;
    const after = await cutOffAfterEffect(alice);
    process.stdout.write(`${kills} kills, ${cutOff} calls cut off, ${after} of them after their effect\n`);
    expect(after).toBeGreaterThan(0);
  },
  serverPoints * 8_000,
);

test.each([
  ["in the default mode", false],
  ["with virtual queues", true],
])(
  "the engine killed at 6 points, now and then together with the server, %s: the same, and every step runs to its end",
  async (_, virtualQueues) => {
    const { loop, engine, server } = await startLoop(virtualQueues);
    for (let kills = 0; kills < 6; kills++) {
      await loop.round(async () => {
        const both = loop.random.below(1) < 0.3;
        const back = engine.crashEngine();
        if (both) {
          await server.kill();
          expect(await server.start()).toBe(true);
        }
        await back;
      });
    }
    await loop.end(true);
  },
  200_000,
);
