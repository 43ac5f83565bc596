import type { Command } from "commander";
import type { Host } from "../session.ts";
import { explainPolicy } from "./policy/explain.ts";
import { testPolicyFolder } from "./policy/test.ts";

export function policyCommand(program: Command, host: Host): void {
  const policy = program.command("policy").description("Test the policies of a folder; show what policy decides.");
  for (const command of [testPolicyFolder, explainPolicy]) command(policy, host);
}
