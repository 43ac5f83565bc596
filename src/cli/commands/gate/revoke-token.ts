import type { Command } from "commander";
import { RevokeGateTokenResponseSchema } from "../../../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { usageFailure } from "../../failure.ts";
import { examples, nonEmpty } from "../../options.ts";
import { type Flags, type Host, type Session, withSession } from "../../session.ts";
import { writeJson } from "../../view/json.ts";
import { requiredReason } from "../control.ts";

interface RevokeFlags extends Flags {
  readonly reason?: string;
}

const example = 'mctl gate token revoke payments-workers --reason "moved to another cluster"';

export function revokeGateToken(token: Command, host: Host): void {
  token
    .command("revoke")
    .description("Refuse a token from now on; its gates are detached at once.")
    .argument("<name>", "its name, or its id", nonEmpty)
    .option("--reason <text>", "why (required); it is kept in the ledger")
    .addHelpText("after", examples(example))
    .action(async (name: string, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<RevokeFlags>();
      const reason = requiredReason(flags.reason, example);
      await withSession(host, flags, async (session) => {
        const gateTokenId = name.startsWith("gt_") ? name : await idOf(name, session);
        const answer = await session.gateTokens.revokeGateToken({ gateTokenId, reason }, session.call());
        if (session.settings.output === "json") writeJson(session.terminal, RevokeGateTokenResponseSchema, answer);
        else session.terminal.write(`REVOKED  gate token ${answer.gateToken?.name}  (${gateTokenId})\n`);
        return undefined;
      });
    });
}

async function idOf(name: string, { gateTokens, call }: Session): Promise<string> {
  const answer = await gateTokens.listGateTokens({}, call());
  const found = answer.gateTokens.find((one) => one.name === name);
  if (found) return found.gateTokenId;
  throw usageFailure(`no gate token is called "${name}", or it is revoked already: mctl gate token list shows them`);
}
