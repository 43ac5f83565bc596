import type { Command } from "commander";
import { ExplainPolicyResponseSchema } from "../../../../gen/missioncontrol/v1/access_pb.ts";
import { exitCodes } from "../../failure.ts";
import {
  durationMs,
  examples,
  keyValue,
  list,
  moment,
  nonEmpty,
  positiveInteger,
  protoDuration,
  repeat,
} from "../../options.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import { describeDecision } from "../../view/access.ts";
import { writeJson } from "../../view/json.ts";
import { renderFields } from "../../view/table.ts";

interface ExplainFlags extends Flags {
  readonly user?: string;
  readonly issuer?: string;
  readonly role?: string[];
  readonly machine?: boolean;
  readonly tenant?: string;
  readonly authenticationAge?: number;
  readonly engine?: string;
  readonly type?: string;
  readonly owner?: string;
  readonly status?: string;
  readonly label?: string[];
  readonly matched?: number;
  readonly radius?: number;
  readonly everything?: boolean;
  readonly emergencyBrake?: boolean;
  readonly own?: boolean;
  readonly reason?: string;
  readonly emergency?: boolean;
  readonly ticket?: string;
  readonly at?: ReturnType<typeof moment>;
  readonly sourceAddress?: string;
}

export function explainPolicy(policy: Command, host: Host): void {
  policy
    .command("explain")
    .description(
      "Show what policy decides for given inputs, and by which policies. What is not given is as in your own call; roles are " +
        "not asked (mctl can does that).",
    )
    .argument("<action>", "in full, like runtime.pause")
    .argument("[workflow-id]", "about this workflow, or describe one")
    .option("--user <subject>", "by this caller, and not by you", nonEmpty)
    .option("--issuer <iss>", "whose issuer is this", nonEmpty)
    .option("--role <names>", "with these roles", list(nonEmpty))
    .option("--machine", "which is a program")
    .option("--tenant <name>", "of this tenant", nonEmpty)
    .option("--authentication-age <duration>", "who proved who they are so long ago", durationMs)
    .option("--engine <name>", "about a workflow on this engine", nonEmpty)
    .option("--type <name>", "of this type", nonEmpty)
    .option("--owner <name>", "of this owner", nonEmpty)
    .option("--status <name>", "in this status (default: RUNNING)", nonEmpty)
    .option("--label <key=value>", "with this label; repeat it for more", repeat(keyValue))
    .option("--matched <n>", "about a brake on so many workflows", positiveInteger)
    .option("--radius <n>", "where so many are within the caller's blast radius (default: any number)", positiveInteger)
    .option("--everything", "about a brake on everything")
    .option("--emergency-brake", "about a brake that was engaged as an emergency")
    .option("--own", "about a brake that the caller engaged")
    .option("--reason <text>", "with this reason")
    .option("--emergency", "as an emergency")
    .option("--ticket <id>", "with this ticket")
    .option("--at <time>", "at this time, like 2026-12-24T12:00Z (default: now)", moment)
    .option("--source-address <ip>", "from this address", nonEmpty)
    .addHelpText(
      "after",
      examples(
        'mctl policy explain runtime.pause restate:inv_1abc --reason "pays twice"',
        "mctl policy explain runtime.resume --role sre --machine --type RefundAgent --engine restate --reason x",
        "mctl policy explain runtime.brake.release --matched 200 --emergency-brake --own --reason over",
      ),
    )
    .action(async (action: string, workflowId: string | undefined, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ExplainFlags>();
      await withSession(host, flags, async ({ access, settings, terminal, call }) => {
        const { reason = "", emergency = false, ticket = "", sourceAddress = "", at } = flags;
        const answer = await access.explainPolicy(
          {
            ...{ action, workflowId: workflowId ?? "", reason, emergency, ticket, sourceAddress },
            ...callerOf(flags),
            ...workflowOf(flags),
            ...brakeOf(flags),
            ...(at && { time: at }),
          },
          call(),
        );
        const { decision } = answer;
        if (settings.output === "json") writeJson(terminal, ExplainPolicyResponseSchema, answer);
        else {
          const word = terminal.paint(decision?.allowed ? "allowed" : "denied", decision?.allowed ? "green" : "red");
          terminal.write(`${word}  ${action}${answer.workflowId && ` on ${answer.workflowId}`}\n`);
          terminal.write(renderFields([["policy", decision && describeDecision(decision)]]));
        }
        return decision?.allowed ? undefined : exitCodes.denied;
      });
    });
}

function callerOf({ user, issuer, role, machine, tenant, authenticationAge }: ExplainFlags) {
  if ((user ?? issuer ?? role ?? machine ?? tenant ?? authenticationAge) === undefined) return {};
  return {
    caller: {
      ...{
        subject: user ?? "",
        issuer: issuer ?? "",
        roles: role ?? [],
        machine: machine ?? false,
        tenant: tenant ?? "",
      },
      ...(authenticationAge !== undefined && { authenticationAge: protoDuration(authenticationAge) }),
    },
  };
}

function workflowOf({ engine, type, owner, status, label }: ExplainFlags) {
  if ((engine ?? type ?? owner ?? status ?? label) === undefined) return {};
  return {
    workflow: { engine: engine ?? "", type: type ?? "", owner: owner ?? "", status: status ?? "", labels: label ?? [] },
  };
}

function brakeOf({ matched, radius, everything, emergencyBrake, own }: ExplainFlags) {
  if ((matched ?? radius ?? everything ?? emergencyBrake ?? own) === undefined) return {};
  return {
    brake: {
      ...{ everything: everything ?? false, emergency: emergencyBrake ?? false, own: own ?? false },
      matched: BigInt(matched ?? 1),
      ...(radius !== undefined && { radius: BigInt(radius) }),
    },
  };
}
