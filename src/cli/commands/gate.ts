import type { Command } from "commander";
import { examples } from "../options.ts";
import type { Host } from "../session.ts";
import { createGateToken } from "./gate/create-token.ts";
import { listGateTokens } from "./gate/list-tokens.ts";
import { revokeGateToken } from "./gate/revoke-token.ts";

export function gateCommand(program: Command, host: Host): void {
  const token = program
    .command("gate")
    .description("Gates: where runtimes ask before each step.")
    .command("token")
    .description("The tokens that gates attach or ask with, each for one engine.")
    .addHelpText(
      "after",
      examples(
        'mctl gate token create payments-workers --engine restate --reason "workers of team payments"',
        "mctl gate token list",
        'mctl gate token revoke payments-workers --reason "moved to another cluster"',
      ),
    );
  for (const command of [createGateToken, listGateTokens, revokeGateToken]) command(token, host);
}
