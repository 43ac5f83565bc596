import { resolve } from "node:path";
import type { Command } from "commander";
import { RotateLedgerKeyResponseSchema } from "../../../../gen/missioncontrol/v1/audit_proof_pb.ts";
import { keep } from "../../audit/keep.ts";
import { examples, nonEmpty } from "../../options.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import { writeJson } from "../../view/json.ts";
import { renderFields } from "../../view/table.ts";
import { requiredReason } from "../control.ts";

interface RotateFlags extends Flags {
  readonly reason?: string;
  readonly to?: string;
}

export function auditRotateKey(audit: Command, host: Host): void {
  const example = 'mctl audit rotate-key --reason "yearly rotation"';
  audit
    .command("rotate-key")
    .description("Have a new key sign the ledger. Whoever trusts the old one can follow, by a note that both sign.")
    .option("--reason <text>", "why (required); it is kept in the ledger")
    .option("--to <file>", "write the new public key there, for those who verify", nonEmpty)
    .addHelpText("after", examples(example, `${example} --to verifier.key`))
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<RotateFlags>();
      const reason = requiredReason(flags.reason, example);
      await withSession(host, flags, async ({ auditLog, settings, terminal, call }) => {
        const answer = await auditLog.rotateLedgerKey({ reason }, call());
        if (settings.output === "json") writeJson(terminal, RotateLedgerKeyResponseSchema, answer);
        else {
          terminal.write(
            renderFields([
              ["new key", answer.verifierKey],
              ["ledger", answer.auditEntryId],
            ]),
          );
        }
        // It is rotated, and shown, whatever becomes of the file.
        if (flags.to !== undefined) keep("the new key", resolve(host.cwd, flags.to), `${answer.verifierKey}\n`);
        return undefined;
      });
    });
}
