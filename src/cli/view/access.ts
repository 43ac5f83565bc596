import {
  type ActionAccess,
  ActionAccess_Answer as Answer,
  PolicyPoint_OutcomeSchema as OutcomeSchema,
  type PolicyDecision,
  type RoleGrant,
  type RoleScope,
} from "../../../gen/missioncontrol/v1/access_pb.ts";
import type { Style, Terminal } from "../terminal.ts";
import { enumName } from "./enum.ts";
import { type Column, renderFields } from "./table.ts";

const answers: Readonly<Record<number, { word: string; style: Style }>> = {
  [Answer.YES]: { word: "yes", style: "green" },
  [Answer.NO]: { word: "no", style: "red" },
  [Answer.DEPENDS]: { word: "depends", style: "yellow" },
};

/** Whether and why, of many actions. */
export const accessColumns: readonly Column<ActionAccess>[] = [
  { header: "ACTION", value: ({ action }) => action },
  { header: "MAY I", value: wordOf, style: ({ answer }) => answers[answer]?.style },
  { header: "BY ROLE", value: ({ grantedBy }) => grantedBy.map(describeGrant).join(", "), minWidth: 12 },
  { header: "WHY", value: ({ message, policy }) => message || (policy?.policyIds.join(", ") ?? ""), minWidth: 16 },
];

/** One action, with all that speaks for and against it. */
export function renderAccess(access: ActionAccess, workflowId: string, terminal: Terminal): string {
  const { action, permission, message, grantedBy, rolesToAskFor, policy } = access;
  const head = terminal.paint(wordOf(access), answers[access.answer]?.style);
  const fields = renderFields([
    ["why", message],
    ["role", grantedBy.map((grant) => `${describeGrant(grant)} gives ${permission}`).join("\n")],
    ["ask for", rolesToAskFor.join(" or ")],
    ["policy", policy && describeDecision(policy)],
  ]);
  return `${head}  ${action}${workflowId === "" ? "" : ` on ${workflowId}`}\n${fields}`;
}

/** What each decision point says, a line for each. */
export function describeDecision({ points, policySetHash }: PolicyDecision): string {
  return points
    .map(({ point, outcome, message, policyIds, cached }) => {
      const by = policyIds.length === 0 ? "" : ` by ${policyIds.join(", ")}`;
      const set = point === "cedar" && policySetHash !== "" ? ` (set ${policySetHash.slice(0, 12)})` : "";
      const earlier = cached ? " (an earlier answer)" : "";
      const why = message === "" ? "" : `: ${message}`;
      return `${point}: ${enumName(OutcomeSchema, outcome).toLowerCase()}${by}${set}${earlier}${why}`;
    })
    .join("\n");
}

function wordOf({ answer }: ActionAccess): string {
  return answers[answer]?.word ?? String(answer);
}

function describeGrant({ role, scopes, reaches }: RoleGrant): string {
  const where = scopes.length === 0 ? "" : ` (${scopes.map(describeScope).join("; ")})`;
  return `${role}${where}${reaches ? "" : ", which does not reach this one"}`;
}

function describeScope({ engines, types, labels }: RoleScope): string {
  const parts = [
    engines.length > 0 ? `engine ${engines.join(" or ")}` : "",
    types.length > 0 ? `type ${types.join(" or ")}` : "",
    labels.join(" and "),
  ];
  return parts.filter(Boolean).join(", ");
}
