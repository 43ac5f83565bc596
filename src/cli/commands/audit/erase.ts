import type { Command } from "commander";
import { EraseSubjectResponseSchema } from "../../../../gen/missioncontrol/v1/audit_personal_pb.ts";
import { commandLine } from "../../command-line.ts";
import { usageFailure } from "../../failure.ts";
import { examples, nonEmpty } from "../../options.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import { writeJson } from "../../view/json.ts";
import { renderFields } from "../../view/table.ts";
import { requiredReason } from "../control.ts";

interface EraseFlags extends Flags {
  readonly subject: string;
  readonly reason?: string;
  readonly confirm?: string;
}

/** A ledger of many years takes so long to go through, ms. */
const patienceMs = 10 * 60 * 1000;

export function auditErase(audit: Command, host: Host): void {
  audit
    .command("erase")
    .description(
      "Erase what the ledger keeps about a person. Entries and proofs stay; who they were about is gone for good.",
    )
    .requiredOption("--subject <name>", "the person, by the subject of their tokens", nonEmpty)
    .option("--reason <text>", "why (required); it is kept in the ledger: do not name the person")
    .option("--confirm <name>", "the same name once more (required): it cannot be undone")
    .addHelpText(
      "after",
      examples(
        'mctl audit erase --subject alice --reason "erasure request 17" --confirm alice',
        'mctl audit erase --subject alice --reason "erasure request 17" --confirm alice -o json | jq .erasedEntries',
      ),
    )
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<EraseFlags>();
      const { subject } = flags;
      const line = commandLine(["mctl", "audit", "erase", "--subject", subject]);
      const reason = requiredReason(
        flags.reason,
        `${line} --reason "erasure request 17" ${commandLine(["--confirm", subject])}`,
      );
      if (flags.confirm !== subject) {
        throw usageFailure(`it cannot be undone: say whom once more, with ${commandLine(["--confirm", subject])}`);
      }
      await withSession(host, flags, async ({ auditLog, settings, terminal, call }) => {
        const answer = await auditLog.eraseSubject({ subject, reason }, call(patienceMs));
        if (settings.output === "json") writeJson(terminal, EraseSubjectResponseSchema, answer);
        else {
          terminal.write(
            renderFields([
              ["erased", `${answer.erasedEntries} entries, ${answer.erasedBrakes} brakes`],
              ["ledger", answer.auditEntryId],
            ]),
          );
          if (answer.keptBrakeIds.length > 0) {
            terminal.note(
              `Not over yet, and kept with the name: ${answer.keptBrakeIds.join(", ")}. Erase again then.\n`,
            );
          }
        }
        return undefined;
      });
    });
}
