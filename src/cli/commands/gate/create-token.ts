import type { Command } from "commander";
import { CreateGateTokenResponseSchema } from "../../../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { usageFailure } from "../../failure.ts";
import { durationMs, examples, nonEmpty, protoDuration } from "../../options.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import { writeJson } from "../../view/json.ts";
import { requiredReason } from "../control.ts";

interface CreateFlags extends Flags {
  readonly engine?: string;
  readonly expiresIn?: number;
  readonly reason?: string;
}

const example = 'mctl gate token create payments-workers --engine restate --reason "workers of team payments"';

export function createGateToken(token: Command, host: Host): void {
  token
    .command("create")
    .description("Make a token. It is written to stdout, once: it is stored nowhere.")
    .argument("<name>", "what it is to be called, unlike any other that is not revoked", nonEmpty)
    .option("--engine <name>", "the engine that gates may use it for (required)", nonEmpty)
    .option("--expires-in <duration>", "how long it is good, 1m to 366d (default: until it is revoked)", durationMs)
    .option("--reason <text>", "why (required); it is kept in the ledger")
    .addHelpText("after", examples(example))
    .action(async (name: string, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<CreateFlags>();
      const reason = requiredReason(flags.reason, example);
      const { engine, expiresIn } = flags;
      if (engine === undefined) throw usageFailure(`say which engine it is for (--engine), e.g. ${example}`);
      await withSession(host, flags, async ({ gateTokens, settings, terminal, call }) => {
        const request = { name, engine, reason, ...(expiresIn && { expiresIn: protoDuration(expiresIn) }) };
        const answer = await gateTokens.createGateToken(request, call());
        if (settings.output === "json") writeJson(terminal, CreateGateTokenResponseSchema, answer);
        else {
          terminal.write(`${answer.secret}\n`);
          terminal.note(
            `The token of ${name} for ${engine}. It is not shown again: keep it where its gates read it.\n`,
          );
        }
        return undefined;
      });
    });
}
