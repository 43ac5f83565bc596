import type { Command } from "commander";
import {
  type ComponentHealth,
  ComponentHealth_StatusSchema,
  type GetHealthResponse,
  GetHealthResponseSchema,
  ComponentHealth_Status as Health,
} from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import { exitCodes } from "../failure.ts";
import { examples } from "../options.ts";
import { type Flags, type Host, withSession } from "../session.ts";
import type { Style, Terminal } from "../terminal.ts";
import { enumName } from "../view/enum.ts";
import { writeJson } from "../view/json.ts";
import { renderTable } from "../view/table.ts";
import { printable } from "../view/text.ts";
import { age, duration } from "../view/time.ts";

export function healthCommand(program: Command, host: Host): void {
  program
    .command("health")
    .description("Show how Mission Control and what it depends on are doing. Exit code 1 unless all is healthy.")
    .addHelpText("after", examples("mctl health", "mctl health -o json | jq .components", "mctl health && ./deploy.sh"))
    .action(async (_: unknown, command: Command) => {
      await withSession(
        host,
        command.optsWithGlobals<Flags>(),
        async ({ missionControl, settings, terminal, call }) => {
          const health = await missionControl.getHealth({}, call());
          if (settings.output === "json") writeJson(terminal, GetHealthResponseSchema, health);
          else terminal.write(renderHealth(health, terminal));
          return health.status === Health.HEALTHY ? exitCodes.ok : exitCodes.error;
        },
      );
    });
}

const styles: Readonly<Record<Health, Style | undefined>> = {
  [Health.STATUS_UNSPECIFIED]: undefined,
  [Health.HEALTHY]: "green",
  [Health.DEGRADED]: ["bold", "yellow"],
  [Health.UNHEALTHY]: ["bold", "red"],
};

function renderHealth(health: GetHealthResponse, terminal: Terminal): string {
  const facts = [
    `mission-control ${printable(health.version)}`,
    ...(health.uptime ? [`up ${duration(health.uptime)}`] : []),
    ...(health.devMode ? ["dev mode"] : []),
  ];
  const counts = [
    `${health.activeWorkflows} active`,
    `${health.pausedWorkflows} paused`,
    `${health.pausingWorkflows} pausing`,
    `${health.totalWorkflows} in all`,
  ];
  const round = health.reconcileDuration ? `; last reconciler round ${duration(health.reconcileDuration)}` : "";
  return [
    `${terminal.paint(enumName(ComponentHealth_StatusSchema, health.status), styles[health.status])}  ${facts.join(", ")}\n`,
    `workflows: ${counts.join(", ")}; brakes engaged: ${health.engagedBrakes}${round}\n\n`,
    renderTable(
      [
        { header: "COMPONENT", value: (component) => component.name },
        {
          header: "STATUS",
          value: (component) => enumName(ComponentHealth_StatusSchema, component.status),
          style: (component) => styles[component.status],
        },
        { header: "FOR", value: (component: ComponentHealth) => age(component.since) },
        { header: "MESSAGE", value: (component) => component.message, minWidth: 20, optional: true },
      ],
      health.components,
      terminal,
    ),
  ].join("");
}
