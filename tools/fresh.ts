import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Exits 1 where generating anew would change what is generated. Leaves the tree as it is. `node tools/fresh.ts` */
const temporary = mkdtempSync(join(tmpdir(), "mission-control-fresh-"));
try {
  execFileSync("buf", ["generate", "--output", temporary], { stdio: "inherit" });
  const fresh = join(temporary, "gen");
  execFileSync(process.execPath, ["tools/openapi.ts", join(fresh, "openapi.json")], { stdio: "inherit" });
  const engines = join(temporary, "engines.md");
  execFileSync(process.execPath, ["tools/engines.ts", engines], { stdio: "inherit" });
  const fields = join(temporary, "fields.py");
  execFileSync(process.execPath, ["tools/verify-fields.ts", fields], { stdio: "inherit" });
  const isStale = (made: string, kept: string) => !read(made)?.equals(read(kept) ?? Buffer.of());
  const stale = [...new Set([...filesOf(fresh), ...filesOf("gen")])]
    .filter((file) => isStale(join(fresh, file), join("gen", file)))
    .map((file) => `gen/${file}`);
  if (isStale(engines, "docs/engines.md")) stale.push("docs/engines.md");
  if (isStale(fields, "examples/verify/fields.py")) stale.push("examples/verify/fields.py");
  if (stale.length > 0) {
    console.error(
      `These generated files are not what their sources say:\n${stale.map((file) => `  ${file}`).join("\n")}`,
    );
    console.error("Run npm run generate, and commit what it changes.");
    process.exitCode = 1;
  }
} finally {
  rmSync(temporary, { recursive: true });
}

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

function read(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}
