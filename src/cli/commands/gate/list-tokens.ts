import type { Command } from "commander";
import { type GateToken, ListGateTokensResponseSchema } from "../../../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { examples } from "../../options.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import { writeJson } from "../../view/json.ts";
import { type Column, renderTable } from "../../view/table.ts";
import { dateTime } from "../../view/time.ts";

interface ListFlags extends Flags {
  readonly revoked?: boolean;
}

export function listGateTokens(token: Command, host: Host): void {
  token
    .command("list")
    .description("List the tokens, the newest first; never a secret.")
    .option("--revoked", "also those that were revoked")
    .addHelpText("after", examples("mctl gate token list"))
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ListFlags>();
      await withSession(host, flags, async ({ gateTokens, settings, terminal, call }) => {
        const answer = await gateTokens.listGateTokens({ includeRevoked: flags.revoked ?? false }, call());
        if (settings.output === "json") writeJson(terminal, ListGateTokensResponseSchema, answer);
        else if (answer.gateTokens.length === 0) terminal.note("There are no gate tokens.\n");
        else terminal.write(renderTable(columns, answer.gateTokens, terminal));
        return undefined;
      });
    });
}

const columns: readonly Column<GateToken>[] = [
  { header: "NAME", value: ({ name }) => name },
  { header: "ENGINE", value: ({ engine }) => engine },
  { header: "GATES", value: ({ attachedGates }) => String(attachedGates) },
  { header: "MADE", value: ({ createTime }) => (createTime ? dateTime(createTime) : "") },
  { header: "BY", value: ({ createdBy }) => createdBy },
  { header: "ENDS", value: endOf, minWidth: 16, optional: true },
  { header: "ID", value: ({ gateTokenId }) => gateTokenId, minWidth: 16, optional: true },
];

function endOf({ revokeTime, revokedBy, expireTime }: GateToken): string {
  if (revokeTime) return `revoked ${dateTime(revokeTime)} by ${revokedBy}`;
  return expireTime ? dateTime(expireTime) : "when it is revoked";
}
