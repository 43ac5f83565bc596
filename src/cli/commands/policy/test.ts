import { resolve } from "node:path";
import { Code } from "@connectrpc/connect";
import type { Command } from "commander";
import type { TestResult } from "../../../policy/policy-tests.ts";
import { CliFailure, exitCodes } from "../../failure.ts";
import { examples } from "../../options.ts";
import type { Flags, Host } from "../../session.ts";
import { outputOf } from "../../settings.ts";

export function testPolicyFolder(policy: Command, host: Host): void {
  policy
    .command("test [folder]")
    .description(
      "Check the policies of a folder (default: policies) against their schema, and run the tests next to them, as the " +
        "server does before it uses them. It asks no server.",
    )
    .addHelpText("after", examples("mctl policy test", "mctl policy test /etc/mission-control/policies -o json"))
    .action(async (folder: string | undefined, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<Flags>();
      const dir = resolve(host.cwd, folder ?? "policies");
      // Loaded only here: no other command has a use for it.
      const { testPolicies } = await import("../../../policy/policy-tests.ts");
      const { set, results } = await testPolicies(dir).catch((error: unknown) => {
        throw new CliFailure(
          exitCodes.error,
          Code.FailedPrecondition,
          error instanceof Error ? error.message : String(error),
        );
      });
      const failed = results.filter(({ fault }) => fault !== "");
      const count = Object.keys(set.policies).length;
      if (outputOf(flags, host) === "json") {
        const tests = results.map(({ file, name, fault }) => ({ file, name, passed: fault === "", fault }));
        host.stdout.write(`${JSON.stringify({ policySetHash: set.hash, policies: count, tests })}\n`);
      } else {
        for (const result of failed) host.stdout.write(told(result));
        host.stdout.write(
          `${count} policies, ${results.length - failed.length} of ${results.length} tests pass; set ${set.hash}\n`,
        );
        if (results.length === 0) host.stderr.write(`There are no tests: write some into ${dir}/*.test.yaml.\n`);
      }
      if (failed.length > 0) host.setExitCode(exitCodes.error);
    });
}

function told({ file, name, fault }: TestResult): string {
  return `${file}: ${name}\n  ${fault}\n`;
}
