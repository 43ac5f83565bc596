import * as z from "zod";
import { type GateConfig, gateDefaults, type HookDecision } from "../engines/gate/config.ts";
import { type Asked, GaveUp, type RunOutcome } from "../engines/gate/events.ts";
import { keptInputs } from "../engines/gate/inputs.ts";
import type { GateRuns } from "../engines/gate/runs.ts";
import { formatWorkflowId } from "../engines/workflow-id.ts";
import { MissionControlError } from "../errors.ts";

/** What the runtime is answered; it reads `decision` alone. */
export interface HookAnswer {
  readonly decision: HookDecision;
  readonly reason: string;
}

const told = z.string().max(256).nullish();

/** What the AI-First Runtime's governance hooks send; what else is in it is dropped at once. */
const hook = z.object({
  event: z.enum(["pre_execution", "pre_step", "post_step", "post_execution"]),
  traceId: told,
  workflowId: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$/),
  step: z
    .object({
      name: z.string().min(1).max(256),
      stepType: told,
      capabilityId: told,
      agentName: told,
      riskLevel: told,
    })
    .nullish(),
  inputs: z.unknown().optional(),
  summary: z.object({ status: z.string().max(64) }).nullish(),
});

type Hook = Omit<z.output<typeof hook>, "inputs"> & {
  /** As they are to be kept. */
  readonly inputs: string | undefined;
};

/** How long before the runtime's own timeout it is answered, ms; of short timeouts a tenth. */
const marginMs = 5_000;

/** Answers the hooks of AI-First Runtimes: a step that is held is answered when it is let go. */
export class AiFirstHooks {
  readonly #engines = new Map<string, { readonly config: GateConfig; readonly runs: GateRuns }>();
  readonly #record: (action: string, workflowId: string, message: string) => Promise<void>;

  /** @param record writes an entry of the ledger about a workflow. */
  constructor(
    engines: readonly { readonly config: GateConfig; readonly runs: GateRuns }[],
    record: (action: string, workflowId: string, message: string) => Promise<void>,
  ) {
    for (const engine of engines) if (engine.config.kind === "ai-first") this.#engines.set(engine.config.name, engine);
    this.#record = record;
  }

  /**
   * Answers one hook of a runtime of the engine; ends with the signal's reason where the runtime goes away, or is not let in any more. Rejects with
   * GATE_TOKEN_SCOPE where the engine is none of kind ai-first, INVALID_ARGUMENT where it is no hook, TOO_MANY_WORKFLOWS,
   * TOO_MANY_HELD_STEPS or LEDGER_UNAVAILABLE: whatever the runtime then does, its fail mode says.
   */
  async answer(engine: string, body: unknown, signal: AbortSignal): Promise<HookAnswer> {
    const found = this.#engines.get(engine);
    if (found === undefined) {
      const message = `this gate token is for ${engine}, which is no engine of kind ai-first: make one for such an engine`;
      throw new MissionControlError("GATE_TOKEN_SCOPE", message, { metadata: { engine } });
    }
    const parsed = hook.safeParse(body);
    if (!parsed.success) throw notAHook(parsed.error);
    signal.throwIfAborted();
    const { runs, config } = found;
    const sent = { ...parsed.data, inputs: keptInputs(parsed.data.inputs, config.inputs) };
    switch (sent.event) {
      case "pre_execution":
        return this.#ask(config, runs, { run: runOf(sent) }, signal);
      case "pre_step":
        return this.#ask(config, runs, { run: runOf(sent), step: stepOf(sent) }, signal);
      case "post_step":
        stepEnded(runs, sent);
        return noted;
      case "post_execution":
        runEnded(runs, sent);
        return noted;
    }
  }

  async #ask(config: GateConfig, runs: GateRuns, asked: Asked, signal: AbortSignal): Promise<HookAnswer> {
    const { timeoutMs, atTimeout } = config.hooks ?? gateDefaults.hooks;
    const timeUp = new AbortController();
    const giveUp = () =>
      timeUp.abort(new GaveUp(`held until its hook's time was over, and answered ${atTimeout} then`));
    const timer = setTimeout(giveUp, Math.max(timeoutMs - marginMs, timeoutMs * 0.9));
    try {
      await runs.ask(asked, AbortSignal.any([signal, timeUp.signal]));
      return { decision: "ALLOW", reason: "no brake holds it" };
    } catch (error) {
      if (!(error instanceof GaveUp) || signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
    }
    const what = asked.step === undefined ? "its beginning" : `step ${asked.step.name}`;
    const message = `${what} was held for as long as the runtime waits (hook_timeout): answered ${atTimeout}, so that ${consequences[atTimeout]}`;
    // Durable before the runtime acts on it; where it cannot be written, the runtime's fail mode decides.
    await this.#record("gate.hold_timed_out", formatWorkflowId(config.name, asked.run.id), message);
    if (atTimeout === "ALLOW") runs.goesOn(asked);
    return { decision: atTimeout, reason: message };
  }
}

const noted: HookAnswer = { decision: "ALLOW", reason: "noted" };

const consequences: Readonly<Record<HookDecision, string>> = {
  ALLOW: "it goes on though a brake holds it",
  DENY: "the runtime fails the workflow and rolls it back",
  PAUSE: "the runtime pauses the workflow and skips this step when it goes on",
};

/** Nobody waits for the disk; what cannot be written yet is written later, and told in health. */
function tell(runs: GateRuns, ...events: Parameters<GateRuns["report"]>[0]): void {
  const written = runs.report(events);
  written.catch(() => undefined);
}

function runOf({ workflowId, traceId, step, inputs }: Hook): Asked["run"] {
  const labels = {
    trace_id: traceId,
    agent: step?.agentName,
    owner: step?.agentName,
    risk: step?.riskLevel,
    capability: step?.capabilityId,
    step_type: step?.stepType,
  };
  const given = Object.entries(labels).filter((label): label is [string, string] => Boolean(label[1]));
  return {
    id: workflowId,
    type: "ai-first",
    name: workflowId,
    labels: Object.fromEntries(given),
    // Those of a step are that step's.
    inputs: step ? undefined : inputs,
  };
}

/** The runtime's hooks have no ids of steps: their names are unique in a workflow. */
function stepOf({ event, step, inputs }: Hook): NonNullable<Asked["step"]> {
  if (!step) throw new MissionControlError("INVALID_ARGUMENT", `a hook ${event} has a step`);
  return { id: step.name, name: step.name, agent: step.agentName ?? "", riskLevel: step.riskLevel ?? "", inputs };
}

function stepEnded(runs: GateRuns, sent: Hook): void {
  const step = stepOf(sent);
  const at = { time: Date.now(), runId: sent.workflowId };
  tell(
    runs,
    { kind: "runStarted", time: at.time, run: runOf(sent) },
    { kind: "stepStarted", ...at, step },
    // The runtime does not tell how it ended.
    { kind: "stepEnded", ...at, stepId: step.id, outcome: "unknown", errorMessage: "" },
  );
}

const outcomes: Readonly<Record<string, RunOutcome>> = {
  SUCCESS: "completed",
  COMPLETED: "completed",
  ROLLED_BACK: "rolledBack",
  CANCELED: "canceled",
  CANCELLED: "canceled",
};

function runEnded(runs: GateRuns, sent: Hook): void {
  const status = (sent.summary?.status ?? "").toUpperCase();
  const run = runOf(sent);
  const started = { kind: "runStarted", time: Date.now(), run } as const;
  if (status === "PAUSED" || status === "SUSPENDED") {
    tell(runs, started);
    runs.gone([run.id], `its runtime says that it is ${status}`);
    return;
  }
  const outcome = Object.hasOwn(outcomes, status) ? outcomes[status] : undefined;
  tell(runs, started, {
    kind: "runEnded",
    time: Date.now(),
    runId: run.id,
    outcome: outcome ?? "failed",
    errorMessage: outcome === undefined ? `its runtime says ${status || "nothing of how it ended"}` : "",
  });
}

function notAHook(error: z.ZodError): MissionControlError {
  const [issue] = error.issues;
  const field = issue?.path.map(String).join(".") || "body";
  return new MissionControlError(
    "INVALID_ARGUMENT",
    `this is no governance hook of an AI-First Runtime: ${field} is missing or not what it has to be`,
    { violations: [{ field, description: "missing or not what it has to be" }] },
  );
}
