import { Code } from "@connectrpc/connect";
import { type Command, Option } from "commander";
import { findDevKey, mintDevToken } from "../dev-token.ts";
import { CliFailure, exitCodes, usageFailure } from "../failure.ts";
import { durationMs, examples, list, nonEmpty } from "../options.ts";
import type { Flags, Host } from "../session.ts";
import { dataDir } from "../settings.ts";
import { listRevocations } from "./token/revocations.ts";
import { revokeTokens } from "./token/revoke.ts";

interface TokenFlags extends Flags {
  readonly user?: string;
  readonly role?: string[];
  readonly expiresIn: number;
}

export function tokenCommand(program: Command, host: Host): void {
  const token = program
    .command("token")
    .description("Print a token signed by dev mode's own issuer; nothing but the token goes to standard output.")
    .option("--user <name>", "the token's subject", nonEmpty, host.user)
    .option(
      "--role <names>",
      "roles: viewer, sre, sre_admin, auditor; repeat it for more (default: sre)",
      list(nonEmpty),
    )
    .addOption(
      new Option("--expires-in <duration>", "how long it is good").argParser(durationMs).default(3_600_000, "1h"),
    )
    .addHelpText(
      "after",
      examples(
        "mctl token --user alice --role sre",
        "mctl token --role sre_admin --role auditor --expires-in 15m > admin.jwt",
        'curl -H "Authorization: Bearer $(npx mctl token)" http://127.0.0.1:8030/v1/workflows',
      ),
    )
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<TokenFlags>();
      if (flags.expiresIn < 1000) throw usageFailure("--expires-in must be at least 1s");
      const key = findDevKey(host.cwd, dataDir(flags, host.env));
      if (key === undefined) {
        throw new CliFailure(
          exitCodes.error,
          Code.FailedPrecondition,
          "no dev issuer here: start Mission Control with npm start, or say where its files are with --data-dir",
        );
      }
      const token = await mintDevToken(key, {
        subject: flags.user ?? host.user,
        roles: flags.role ?? ["sre"],
        expiresInMs: flags.expiresIn,
      });
      host.stdout.write(`${token}\n`);
    });
  for (const command of [revokeTokens, listRevocations]) command(token, host);
}
