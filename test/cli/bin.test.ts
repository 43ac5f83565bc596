import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "./run.ts";

const bin = resolve(import.meta.dirname, "../../bin");

function copyOfBin(): string {
  const root = temporaryFolder();
  cpSync(bin, join(root, "bin"), { recursive: true });
  writeFileSync(join(root, "package.json"), '{"type":"module"}');
  return root;
}

test.each([
  ["mctl.js", "cli/main"],
  ["mission-control.js", "main"],
])("%s runs src/ in a clone, and dist/ in the published package", (file, entry) => {
  for (const [folder, ending] of [
    ["src", "ts"],
    ["dist/src", "js"],
  ]) {
    const root = copyOfBin();
    const path = join(root, `${folder}/${entry}.${ending}`);
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, `console.log("${folder}", process.argv[2]);`);
    const { stdout, stderr } = spawnSync(process.execPath, [join(root, "bin", file), "list"], { encoding: "utf8" });
    expect({ stdout, stderr }).toEqual({ stdout: `${folder} list\n`, stderr: "" });
  }
});

test.each([
  ["src/cli/main.ts", /Node 20\.20\.2.*22\.18.*\n.*"npx mctl"/],
  ["dist/src/cli/main.js", /Node 20\.20\.2; it needs Node 24/],
])("a Node that cannot run %s is told what to do", (entry, message) => {
  const root = copyOfBin();
  const path = join(root, entry);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, "");
  const script = `
    Object.defineProperty(process.versions, "node", { value: "20.20.2" });
    await import(${JSON.stringify(join(root, "bin/mctl.js"))});`;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  expect(status).toBe(1);
  expect(stderr).toMatch(message);
});
