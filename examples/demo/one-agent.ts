import { setTimeout as delay } from "node:timers/promises";
import { chapter, claim, json, payments, refundCount, show, startRefunds, startServer, until, url } from "./stage.ts";

const lookMs = 3_000;

interface ControlAnswer {
  readonly newStatus: string;
  readonly auditEntryId: string;
  readonly haltReceipt: {
    readonly timeToStandstill: string;
    readonly standstillTime: string;
    readonly stepsStartedAfterAccept?: number;
    readonly stepsInFlight?: readonly { readonly name: string; readonly outcome: string }[];
  };
}

interface AuditEntry {
  readonly entryId: string;
  readonly sequence: string;
  readonly phase: string;
  readonly action: string;
  readonly reason?: string;
  readonly intentEntryId?: string;
  readonly errorReason?: string;
  readonly principal?: { readonly subject?: string };
}

/** The main job on one agent that pays refunds, proven from that agent's own payment ledger. */
export async function oneAgent(): Promise<void> {
  chapter("Start: a durable engine, agents that do real work, Mission Control");
  await startServer();
  claim((await fetch(`${url}/readyz`)).ok, `it is ready on ${url}`);
  const id = await startRefunds("demo");
  const workflow = `restate:${id}`;
  await show("list", "--limit", "5");

  chapter("Nobody gets in");
  const stranger = await fetch(`${url}/v1/workflows/${workflow}/pause`, { method: "POST", body: "{}" });
  claim(stranger.status === 401, "a pause without a token is refused (401), before its body is read");

  chapter("Brake: the refunds look wrong");
  await until("the agent to pay three refunds", async () => (await payments()).length >= 3);
  const pause = await json<ControlAnswer>("pause", workflow, "--reason", "refunds look wrong", "--wait", "10s");
  const receipt = pause.haltReceipt;
  claim(
    pause.newStatus === "PAUSED",
    `PAUSED, read back from the engine ${receipt.timeToStandstill} after the request`,
  );
  for (const step of receipt.stepsInFlight ?? []) {
    claim(step.outcome === "FINISHED", `"${step.name}" was in flight: it finished, and its result was kept`);
  }
  claim((receipt.stepsStartedAfterAccept ?? 0) === 0, "no step started after the engine had accepted to halt");

  chapter("The brake holds");
  const before = await payments();
  console.log(`  looking at the agent's payment ledger for ${lookMs / 1000} s …`);
  await delay(lookMs);
  const after = await payments();
  const standstill = Date.parse(receipt.standstillTime);
  claim(
    after.length === before.length,
    `${after.length} refunds paid before, ${after.length} after: not one while it was paused`,
  );
  claim(
    after.every((payment) => payment.time <= standstill),
    "the last payment is older than the standstill",
  );
  await show("trace", workflow);

  chapter("Release: as if nothing had happened");
  const resume = await json<ControlAnswer>("resume", workflow, "--reason", "checked with payments");
  claim(["RUNNING", "COMPLETED"].includes(resume.newStatus), `it is ${resume.newStatus}`);
  await until("the agent to finish", async () => {
    const { workflow: now } = await json<{ workflow: { status: string } }>("get", workflow);
    return now.status === "COMPLETED";
  });
  const all = await payments();
  const once = new Set(all.map((payment) => payment.refundId));
  claim(all.length === refundCount && once.size === refundCount, `${refundCount} refunds, each paid exactly once`);

  chapter("Nothing happens unseen");
  const { entries } = await json<{ entries: AuditEntry[] }>("audit", "list", "--target", workflow, "--limit", "200");
  const story = entries.toSorted((a, b) => Number(a.sequence) - Number(b.sequence));
  const position = (found: (entry: AuditEntry) => boolean) => story.findIndex(found);
  const intent = position((entry) => entry.entryId === pause.auditEntryId);
  claim(story[intent]?.phase === "INTENT", "the pause's intent is in the ledger");
  claim(story[intent]?.reason === "refunds look wrong", "with its reason");
  const engaged = position((entry) => entry.action === "brake.engaged");
  const outcome = position((entry) => entry.phase === "OUTCOME" && entry.intentEntryId === pause.auditEntryId);
  claim(intent < engaged && engaged < outcome, "intent, then brake, then outcome: written before it took effect");
  const denied = await json<{ entries: AuditEntry[] }>("audit", "list", "--phase", "DENIED", "--limit", "50");
  claim(
    denied.entries.some((entry) => entry.errorReason === "TOKEN_MISSING"),
    "the stranger's call is there too",
  );
  await show("audit", "list", "--target", workflow, "--limit", "12");
}
