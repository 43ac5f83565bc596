import { resolve } from "node:path";
import { toJsonString } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import type { Command } from "commander";
import { AuditReceiptSchema } from "../../../../gen/missioncontrol/v1/audit_proof_pb.ts";
import { verifyReceipt } from "../../../proof/receipt.ts";
import { keep } from "../../audit/keep.ts";
import { findTrust } from "../../audit/trust.ts";
import { CliFailure, exitCodes } from "../../failure.ts";
import { examples, nonEmpty } from "../../options.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import { renderReceipt } from "../../view/entry-receipt.ts";

interface ReceiptFlags extends Flags {
  readonly to?: string;
  readonly key?: string;
}

export function auditReceipt(audit: Command, host: Host): void {
  audit
    .command("receipt")
    .description(
      "Get the proof that one entry is in the ledger, to keep: with the log's public key it verifies offline.",
    )
    .argument("<entry-id>", "the entry, ae_…, as answers and mctl audit list show it")
    .option("--to <file>", "keep the receipt there", nonEmpty)
    .option("--key <key>", "the log's public key, or a file with it (default: the one in the data directory)", nonEmpty)
    .addHelpText(
      "after",
      examples(
        "mctl audit receipt ae_01k9 --to receipt.json",
        "mctl audit verify --receipt receipt.json --key verifier.key",
      ),
    )
    .action(async (entryId: string, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ReceiptFlags>();
      const trust = findTrust(flags.key, host, flags);
      await withSession(host, flags, async ({ auditLog, settings, terminal, call }) => {
        const { receipt } = await auditLog.getAuditReceipt({ entryId }, call());
        if (receipt === undefined)
          throw new CliFailure(exitCodes.error, Code.Internal, "the server's answer has no receipt");
        if (trust !== undefined) verifyReceipt(receipt, trust.key);
        const json = `${toJsonString(AuditReceiptSchema, receipt)}\n`;
        if (flags.to !== undefined) keep("the receipt", resolve(host.cwd, flags.to), json);
        if (settings.output === "json") terminal.write(json);
        else if (trust !== undefined) terminal.write(renderReceipt(receipt, trust.key, terminal));
        if (trust === undefined) terminal.note("Not verified: there is no key here; --key names it.\n");
        return undefined;
      });
    });
}
