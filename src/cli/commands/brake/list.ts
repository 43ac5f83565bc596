import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import { ListBrakesResponseSchema, Brake_State as State } from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { enumValue, examples, list, positiveInteger } from "../../options.ts";
import { collectPages } from "../../paging.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import { brakeColumns } from "../../view/brake.ts";
import { writeJson } from "../../view/json.ts";
import { renderTable } from "../../view/table.ts";

interface ListFlags extends Flags {
  readonly state?: State[];
  readonly limit: number;
  readonly all?: boolean;
}

export function listBrakes(brake: Command, host: Host): void {
  brake
    .command("list")
    .description("List brakes, the newest first.")
    .option(
      "--state <names>",
      "only these states: AWAITING_APPROVAL, ENGAGED, RELEASED, EXPIRED",
      list(enumValue<State>(State)),
    )
    .option("--limit <n>", "how many at the most", positiveInteger, 50)
    .option("--all", "all of them, however many pages")
    .addHelpText(
      "after",
      examples(
        "mctl brake list --state ENGAGED,AWAITING_APPROVAL",
        "mctl brake list --state ENGAGED -o json | jq -r '.brakes[].brakeId'",
      ),
    )
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ListFlags>();
      await withSession(host, flags, async ({ brakes, settings, terminal, call }) => {
        const { items, nextPageToken } = await collectPages(
          flags.all ? Number.POSITIVE_INFINITY : flags.limit,
          200,
          async (pageSize, pageToken) => {
            const page = await brakes.listBrakes({ state: flags.state ?? [], pageSize, pageToken }, call());
            return { items: page.brakes, nextPageToken: page.nextPageToken };
          },
        );
        if (settings.output === "json") {
          const all = create(ListBrakesResponseSchema, { brakes: items, nextPageToken });
          writeJson(terminal, ListBrakesResponseSchema, all);
          return undefined;
        }
        if (items.length > 0) terminal.write(renderTable(brakeColumns, items, terminal));
        else terminal.note("No brake matches.\n");
        if (nextPageToken !== "") terminal.note(`The newest ${items.length}; there are more: --limit or --all.\n`);
        return undefined;
      });
    });
}
