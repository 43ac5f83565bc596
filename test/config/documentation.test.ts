import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { documentSchema } from "../../src/config/document.ts";
import { readConfigFile } from "../../src/config/file.ts";
import { productionFaults } from "../../src/config/production.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/configuration.md"), "utf8");

test("the example of docs/configuration.md can be served", () => {
  const dir = mkdtempSync(join(tmpdir(), "mc-config-"));
  try {
    const file = join(dir, "mission-control.yaml");
    writeFileSync(file, /^```yaml\n(.*?)^```$/ms.exec(page)?.[1] ?? "");
    expect(productionFaults(readConfigFile(file))).toEqual([]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test("docs/configuration.md tells every section", () => {
  const sections = Object.keys(documentSchema("/").shape);
  expect(sections.filter((name) => !page.includes(`| \`${name}`))).toEqual([]);
});
