import { resolve } from "node:path";
import type { Command } from "commander";
import { examples, nonEmpty } from "../options.ts";
import { type Flags, type Host, terminalOf } from "../session.ts";
import { outputOf } from "../settings.ts";
import { makeSigningKey } from "../signing-key.ts";

interface SigningKeyFlags extends Flags {
  readonly name: string;
}

export function signingKeyCommand(program: Command, host: Host): void {
  program
    .command("make-signing-key")
    .description("Make a key of your own to sign control calls with; prints the public one, to be registered for you.")
    .argument("<file>", "where to keep the private key; nobody else may read it")
    .option("--name <name>", "what the key is called, without spaces", nonEmpty, host.user)
    .addHelpText(
      "after",
      examples(
        "mctl make-signing-key alice.jwk",
        'mctl pause restate:inv_1abc --signing-key alice.jwk --reason "INC-42"',
      ),
    )
    .action((file: string, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<SigningKeyFlags>();
      const key = makeSigningKey(resolve(host.cwd, file), flags.name);
      const terminal = terminalOf(host, flags);
      terminal.write(outputOf(flags, host) === "json" ? `${JSON.stringify({ key })}\n` : `${key}\n`);
    });
}
