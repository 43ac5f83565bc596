import type { Command } from "commander";
import type { Host } from "../session.ts";
import { testPolicyFolder } from "./policy/test.ts";

export function policyCommand(program: Command, host: Host): void {
  const policy = program.command("policy").description("Test the policies of a folder.");
  for (const command of [testPolicyFolder]) command(policy, host);
}
