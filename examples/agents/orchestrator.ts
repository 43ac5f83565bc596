import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as restate from "@restatedev/restate-sdk";
import type { inbox } from "./inbox.ts";
import type { licenseAudit } from "./license-audit.ts";
import { stepOptions } from "./options.ts";
import type { refundAgent } from "./refund-agent.ts";
import type { Settings } from "./settings.ts";

/** A request for a person's approval, as it lies in `<workDir>/approvals/<invocation id>.json`. */
export interface ApprovalRequest {
  /** Resolve this awakeable with `true` or `false`. */
  readonly awakeable: string;
  readonly workflowId: string;
  readonly question: string;
}

export const approvalsFolder = "approvals";

/** Lets a child audit, waits, asks for approval, lets another child pay refunds, tells the customer. */
export function orchestrator(settings: Settings) {
  return restate.service({
    name: "Orchestrator",
    handlers: {
      /** Pays the rows `from` to `to`, after `pauseMs` (0 to 60,000, default 4,000) and an approval. */
      settle: async (
        ctx: restate.Context,
        input?: { from?: number; to?: number; packages?: number; pauseMs?: number; customer?: string },
      ) => {
        const { id } = ctx.request();
        const from = input?.from ?? 1;
        const to = input?.to ?? from + 2;
        const audit = await ctx
          .serviceClient<ReturnType<typeof licenseAudit>>({ name: "LicenseAudit" })
          .audit({ limit: input?.packages ?? 10 });

        await ctx.sleep(Math.min(60_000, Math.max(0, input?.pauseMs ?? 4_000)), "cool down");

        const approval = ctx.awakeable<boolean>();
        await ctx.run("ask for approval", () =>
          askForApproval(settings.workDir, {
            awakeable: approval.id,
            workflowId: id,
            question: `Pay refunds ${from} to ${to}? ${audit.review.length} of ${audit.packages} licences need a review.`,
          }),
        );
        if (!(await approval.promise))
          throw new restate.TerminalError("The refunds were not approved.", { errorCode: 403 });

        const paid = await ctx
          .serviceClient<ReturnType<typeof refundAgent>>({ name: "RefundAgent" })
          .pay({ batch: id, from, to });
        ctx
          .objectSendClient<ReturnType<typeof inbox>>({ name: "Inbox" }, input?.customer ?? "customers")
          .answer({ text: `${paid.refunds} refunds were paid, ${paid.paidCents / 100} in total.` });
        await ctx.run("write settlement", () =>
          writeFile(join(settings.workDir, `settlement-${id}.json`), `${JSON.stringify({ audit, paid }, null, 2)}\n`),
        );
        return paid;
      },
    },
    // Its own steps are short: it can suspend soon, and then costs nothing while it sleeps or waits.
    options: { ...stepOptions, inactivityTimeout: { seconds: 2 } },
    metadata: { owner: "payments-team", team: "payments", risk: "high" },
  });
}

async function askForApproval(workDir: string, request: ApprovalRequest): Promise<void> {
  const folder = join(workDir, approvalsFolder);
  await mkdir(folder, { recursive: true });
  const file = join(folder, `${request.workflowId}.json`);
  await writeFile(`${file}.new`, JSON.stringify(request));
  await rename(`${file}.new`, file); // whoever sees it sees all of it
}
