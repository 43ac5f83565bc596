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

test("what docs/gates.md and docs/gate.md write into the file can be read", () => {
  const dir = mkdtempSync(join(tmpdir(), "mc-config-"));
  try {
    const file = join(dir, "mission-control.yaml");
    let read = 0;
    for (const name of ["gates.md", "gate.md"]) {
      const text = readFileSync(join(import.meta.dirname, "../../docs", name), "utf8");
      for (const [, example = ""] of text.matchAll(/^```yaml\n(.*?)^```$/gms)) {
        writeFileSync(file, example);
        expect(readConfigFile(file).engines?.length).toBeGreaterThan(0);
        read += 1;
      }
    }
    expect(read).toBe(3);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
