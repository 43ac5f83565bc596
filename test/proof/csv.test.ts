import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { AuditEntrySchema, ExportAuditEntriesResponseSchema } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { csvRow } from "../../src/proof/csv.ts";

it.each(["=cmd()", "+1", "-1", "@SUM(A1)"])("a spreadsheet takes %s for text, and no row for two", (reason) => {
  const entry = create(AuditEntrySchema, { reason: `${reason}\nnext "quoted", with a comma`, target: "t" });
  const row = csvRow(create(ExportAuditEntriesResponseSchema), entry);
  expect(row).toContain(`,"'${reason} next ""quoted"", with a comma",`);
  expect(row).not.toMatch(/\n/);
});
