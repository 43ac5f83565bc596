import { appendFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import * as restate from "@restatedev/restate-sdk";
import { stepOptions } from "./options.ts";
import type { Settings } from "./settings.ts";

/** A message to answer. */
interface Message {
  readonly text?: string;
  /** A thorough answer takes 5 s instead of 800 ms. */
  readonly thorough?: boolean;
  /** When to look again whether the customer was content; 0: never. */
  readonly followUpMs?: number;
}

/** A mailbox per key: messages are answered one after the other, in one step of 800 ms or 5 s, and followed up later. */
export function inbox(settings: Settings) {
  const log = async (mailbox: string, line: object) => {
    await mkdir(settings.workDir, { recursive: true });
    const entry = { time: Date.now(), mailbox, ...line };
    await appendFile(join(settings.workDir, "inbox.jsonl"), `${JSON.stringify(entry)}\n`);
  };

  const Inbox = restate.object({
    name: "Inbox",
    handlers: {
      answer: async (ctx: restate.ObjectContext, message?: Message) => {
        const { id } = ctx.request();
        const text = (message?.text ?? "").slice(0, 2_000);
        const topic = await ctx.run("classify", async () => {
          await delay(20);
          return /refund|money|charge/i.test(text) ? "billing" : "general";
        });
        await ctx.run(message?.thorough ? "write a thorough answer" : "write an answer", async () => {
          await delay(message?.thorough ? 5_000 : 800);
          await log(ctx.key, {
            workflowId: id,
            event: "answered",
            topic,
            words: text.split(/\s+/).filter(Boolean).length,
          });
        });
        const answered = ((await ctx.get<number>("answered")) ?? 0) + 1;
        ctx.set("answered", answered);
        const followUpMs = message?.followUpMs ?? 0;
        if (followUpMs > 0) {
          ctx
            .objectSendClient<typeof Inbox>({ name: "Inbox" }, ctx.key)
            .followUp({ answered }, restate.rpc.sendOpts({ delay: Math.min(followUpMs, 3_600_000) }));
        }
        return { topic, answered };
      },

      followUp: async (ctx: restate.ObjectContext, message?: { answered?: number }) => {
        await ctx.run("ask whether that helped", () =>
          log(ctx.key, { workflowId: ctx.request().id, event: "followed up", answered: message?.answered }),
        );
      },
    },
    options: stepOptions,
    metadata: { owner: "support-team", team: "support", risk: "medium" },
  });
  return Inbox;
}
