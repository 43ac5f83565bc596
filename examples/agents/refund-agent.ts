import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import * as restate from "@restatedev/restate-sdk";
import { stepOptions } from "./options.ts";
import type { Settings } from "./settings.ts";

/** One row of the CSV. */
interface Refund {
  readonly refundId: string;
  readonly orderId: string;
  readonly amountCents: number;
  readonly currency: string;
}

/** One line of the ledger: money that left. Nothing is ever taken back from the ledger, and nothing in it is merged. */
export interface Payment extends Refund {
  readonly batch: string;
  readonly workflowId: string;
  /** The process that paid. */
  readonly pid: number;
  /** ms since the epoch. */
  readonly time: number;
}

export const ledgerFile = "refunds.jsonl";

/**
 * Pays the refunds of a CSV, one step per refund, into an append-only ledger. The bank takes 300 ms to 1 s for each. A step
 * that ran twice would stand in the ledger twice: every pair of batch and refund_id has to be there once.
 */
export function refundAgent(settings: Settings) {
  return restate.service({
    name: "RefundAgent",
    handlers: {
      /** Pays the rows `from` to `to` (1-based, inclusive). `batch` names the payment run, by default after the invocation. */
      pay: async (ctx: restate.Context, input?: { batch?: string; from?: number; to?: number }) => {
        const { id } = ctx.request();
        const batch = input?.batch ?? id;
        const refunds = await ctx.run("read refunds", () =>
          readRefunds(settings.refundsCsv, input?.from ?? 1, input?.to ?? Number.POSITIVE_INFINITY),
        );
        let paidCents = 0;
        for (const refund of refunds) {
          await ctx.run(`pay ${refund.refundId}`, async () => {
            await delay(300 + (refund.amountCents % 701)); // the bank
            await append(settings.workDir, { ...refund, batch, workflowId: id, pid: process.pid, time: Date.now() });
          });
          paidCents += refund.amountCents;
        }
        return { batch, refunds: refunds.length, paidCents };
      },
    },
    options: stepOptions,
    metadata: { owner: "payments-team", team: "payments", risk: "high" },
  });
}

async function readRefunds(csv: string, from: number, to: number): Promise<Refund[]> {
  const [header, ...lines] = (await readFile(csv, "utf8")).trim().split("\n");
  if (!header?.startsWith("refund_id,order_id,customer,amount_cents,currency,")) {
    throw new restate.TerminalError(`${csv} has other columns than expected: ${header}`, { errorCode: 400 });
  }
  if (!(from >= 1 && from <= to)) {
    throw new restate.TerminalError(`from (${from}) has to be 1 or more and not above to (${to})`, { errorCode: 400 });
  }
  return lines.slice(from - 1, to).map((line, i) => {
    const [refundId = "", orderId = "", , amount = "", currency = ""] = line.split(",");
    const amountCents = Number(amount);
    if (!/^RF-[\w-]+$/.test(refundId) || !Number.isSafeInteger(amountCents) || amountCents <= 0) {
      throw new restate.TerminalError(`row ${from + i} of ${csv} is no refund: ${line}`, { errorCode: 400 });
    }
    return { refundId, orderId, amountCents, currency };
  });
}

/** One write at the end of the file, on the disk before it counts as paid. */
async function append(workDir: string, payment: Payment): Promise<void> {
  await mkdir(workDir, { recursive: true });
  const file = await open(join(workDir, ledgerFile), "a");
  try {
    await file.write(`${JSON.stringify(payment)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}
