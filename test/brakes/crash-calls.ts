import { setTimeout as delay } from "node:timers/promises";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import type { Caller } from "./crash-process.ts";
import type { Random } from "./crash-random.ts";

/** What a caller was told. */
export interface Told {
  readonly brakeId: string;
  readonly auditEntryId: string;
}

/** One request of a caller, sent until it is answered, always with the same request_id. Its reason is its own. */
export class CrashCall {
  readonly what: string;
  readonly reason: string;
  readonly #send: () => Promise<Told>;
  told: Told | undefined;
  /** Refused for good. */
  refused: string | undefined;
  /** How often no answer came. */
  cutOff = 0;

  constructor(what: string, reason: string, send: () => Promise<Told>) {
    this.what = what;
    this.reason = reason;
    this.#send = send;
  }

  get isAnswered(): boolean {
    return this.told !== undefined || this.refused !== undefined;
  }

  async send(): Promise<void> {
    try {
      this.told = await this.#send();
    } catch (error) {
      const failure = ConnectError.from(error);
      const info = failure.findDetails(ErrorInfoSchema)[0];
      // Only what the server itself says is an answer; what says "try again" is none.
      if (info === undefined || failure.code === Code.Unavailable || failure.code === Code.DeadlineExceeded)
        this.cutOff++;
      else this.refused = info.reason;
    }
  }

  /** The same request once more: it has to be told the same. */
  repeat(): Promise<Told> {
    return this.#send();
  }
}

/** A brake that was asked for, as the caller remembers it. */
export interface Known {
  readonly call: CrashCall;
  readonly types: readonly string[];
  readonly workflowIds: readonly string[];
  readonly expires: boolean;
  /** Somebody has asked to release it. */
  releasing: boolean;
}

/** Makes up requests. */
export class CrashOperator {
  readonly calls: CrashCall[] = [];
  /** Brakes by the calls that asked for them. */
  readonly known: Known[] = [];
  readonly #alice: Caller;
  readonly #sam: Caller;
  readonly #random: Random;

  constructor(alice: Caller, sam: Caller, random: Random) {
    this.#alice = alice;
    this.#sam = sam;
    this.#random = random;
  }

  /** Engages a brake on some types, or on some of these workflows. */
  engage(types: readonly string[], ids: readonly string[]): CrashCall {
    const random = this.#random;
    const byType = random.below(1) < 0.6 || ids.length === 0;
    const chosen = byType ? some(random, types, 2) : [];
    const workflowIds = byType ? [] : some(random, ids, 2).map((id) => `restate:${id}`);
    const expires = random.below(1) < 0.25;
    const request = {
      ...this.#once("engage"),
      selector: { types: chosen, workflowIds },
      ...(expires && { expiresIn: durationFromMs(1_000) }),
      ...this.#wait(),
    };
    const call = this.#call("engage", request.reason, async () => {
      const { brake, auditEntryId } = await this.#alice.brakes.engageBrake(request);
      return { brakeId: brake?.brakeId ?? "", auditEntryId };
    });
    this.known.push({ call, types: chosen, workflowIds, expires, releasing: false });
    return call;
  }

  /** Asks for a brake that a second person has to approve where it matches more than three; then approves it. */
  ask(types: readonly string[]): CrashCall[] {
    const chosen = some(this.#random, types, 4);
    const request = { ...this.#once("ask"), selector: { types: chosen } };
    const ask = this.#call("ask", request.reason, async () => {
      const { brake, auditEntryId } = await this.#sam.brakes.engageBrake(request);
      return { brakeId: brake?.brakeId ?? "", auditEntryId };
    });
    this.known.push({ call: ask, types: chosen, workflowIds: [], expires: false, releasing: false });
    const yes = this.#once("approve");
    const approve = this.#call("approve", yes.reason, async () => {
      if (ask.told === undefined) throw new Error("not asked for yet");
      const { brakeId } = ask.told;
      const { auditEntryId } = await this.#alice.brakes.approveBrake({ brakeId, ...yes });
      return { brakeId, auditEntryId };
    });
    return [ask, approve];
  }

  /** Releases one of the brakes, at once or in stages. */
  release(brake: Known, brakeId: string): CrashCall {
    const staged = this.#random.below(1) < 0.4 && {
      staged: { percent: 50, watch: durationFromMs(1_000), maxFailures: 1 },
    };
    const request = { ...this.#once(staged ? "release in stages" : "release"), brakeId, ...staged, ...this.#wait() };
    brake.releasing = true;
    return this.#call(staged ? "stage" : "release", request.reason, async () => {
      const { auditEntryId } = await this.#alice.brakes.releaseBrake(request);
      return { brakeId, auditEntryId };
    });
  }

  pause(id: string): CrashCall {
    const request = { ...this.#once("pause"), workflowId: `restate:${id}`, ...this.#wait() };
    const call = this.#call("pause", request.reason, () => this.#alice.control.pauseWorkflow(request));
    this.known.push({ call, types: [], workflowIds: [request.workflowId], expires: false, releasing: false });
    return call;
  }

  resume(workflowId: string): CrashCall {
    const request = { ...this.#once("resume"), workflowId, ...this.#wait() };
    for (const brake of this.known) if (brake.workflowIds.includes(workflowId)) brake.releasing = true;
    return this.#call("resume", request.reason, () => this.#alice.control.resumeWorkflow(request));
  }

  #once(what: string): { requestId: string; reason: string } {
    return { requestId: this.#random.uuid(), reason: `${what} ${this.calls.length}` };
  }

  /** Half of the callers wait for what they asked for, so that a crash comes between its effect and its answer. */
  #wait() {
    return this.#random.below(1) < 0.5 ? { wait: durationFromMs(1_000) } : {};
  }

  #call(what: string, reason: string, send: () => Promise<Told>): CrashCall {
    const call = new CrashCall(what, reason, send);
    this.calls.push(call);
    return call;
  }
}

function some<T>(random: Random, from: readonly T[], most: number): T[] {
  return [...new Set(Array.from({ length: most }, () => random.pick(from)))];
}

/** Sends them one after the other, and again, until all are answered. */
export async function sendAll(calls: readonly CrashCall[], deadline: number): Promise<void> {
  for (const call of calls) {
    while (!call.isAnswered) {
      if (Date.now() > deadline) throw new Error(`never answered: ${call.reason}`);
      await call.send();
      if (!call.isAnswered) await delay(20);
    }
  }
}
