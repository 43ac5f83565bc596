import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import {
  ListRevocationsResponseSchema,
  type Revocation,
  Revocation_SourceSchema,
} from "../../../../gen/missioncontrol/v1/revocations_pb.ts";
import { examples, nonEmpty, positiveInteger } from "../../options.ts";
import { collectPages } from "../../paging.ts";
import { type Flags, type Host, withSession } from "../../session.ts";
import { enumName } from "../../view/enum.ts";
import { writeJson } from "../../view/json.ts";
import { type Column, renderTable } from "../../view/table.ts";
import { dateTime } from "../../view/time.ts";

interface RevocationsFlags extends Flags {
  readonly issuer?: string;
  readonly limit: number;
  readonly all?: boolean;
}

export function listRevocations(token: Command, host: Host): void {
  token
    .command("revocations")
    .description("List the revocations that are in force, the newest first.")
    .option("--issuer <iss>", "only of this issuer's tokens", nonEmpty)
    .option("--limit <n>", "how many at the most", positiveInteger, 100)
    .option("--all", "all of them, however many pages")
    .addHelpText("after", examples("mctl token revocations", "mctl token revocations -o json | jq '.revocations[]'"))
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<RevocationsFlags>();
      await withSession(host, flags, async ({ revocations, settings, terminal, call }) => {
        const { items, nextPageToken } = await collectPages(
          flags.all ? Number.POSITIVE_INFINITY : flags.limit,
          1000,
          async (pageSize, pageToken) => {
            const page = await revocations.listRevocations({ issuer: flags.issuer ?? "", pageSize, pageToken }, call());
            return { items: page.revocations, nextPageToken: page.nextPageToken };
          },
        );
        if (settings.output === "json") {
          const all = create(ListRevocationsResponseSchema, { revocations: items, nextPageToken });
          writeJson(terminal, ListRevocationsResponseSchema, all);
          return undefined;
        }
        if (items.length > 0) terminal.write(renderTable(columns, items, terminal));
        else terminal.note("Nothing is revoked.\n");
        if (nextPageToken !== "") terminal.note(`The newest ${items.length}; there are more: --limit or --all.\n`);
        return undefined;
      });
    });
}

const columns: readonly Column<Revocation>[] = [
  { header: "REVOKED", value: ({ revokeTime }) => (revokeTime ? dateTime(revokeTime) : "") },
  {
    header: "BY",
    value: ({ revokedBy, source }) => revokedBy || `(${enumName(Revocation_SourceSchema, source).toLowerCase()})`,
  },
  {
    header: "TOKENS",
    value: ({ tokenId, subject, issuedBefore }) =>
      tokenId || `of ${subject}${issuedBefore ? `, issued before ${dateTime(issuedBefore)}` : ""}`,
  },
  { header: "ISSUER", value: ({ issuer }) => issuer, minWidth: 20, optional: true },
  { header: "WHY", value: ({ reason }) => reason, minWidth: 16, optional: true },
];
