import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";

/** The house, from the roof down: a room may import from its own floor's room and from what is below. */
const floors = [
  ["main"],
  ["dev-mode", "serve-mode"],
  ["configured-options"],
  ["server", "dev", "config"],
  ["process"],
  ["http"],
  ["services"],
  ["interceptors"],
  ["brakes"],
  ["engines"],
  ["policy"],
  ["identity"],
  ["ledger"],
  ["store"],
  ["errors", "log", "proof"],
] as const;

const src = join(import.meta.dirname, "../src");

function roomOf(path: string): string {
  return path.split("/")[0]?.replace(/\.ts$/, "") ?? "";
}

const imports = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .flatMap((path) => {
    const text = readFileSync(join(src, path), "utf8");
    return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(([, to = ""]) => ({
      path,
      to: to.startsWith(".") ? normalize(join(dirname(path), to)) : to,
    }));
  });

test("imports in src/ run downward only", () => {
  const floorOf = (room: string) => floors.findIndex((rooms) => (rooms as readonly string[]).includes(room));
  const faults = imports.filter(({ path, to }) => {
    const from = roomOf(path);
    if (from === "cli" || to.startsWith("..") || !to.endsWith(".ts") || roomOf(to) === from) return false;
    const [own, other] = [floorOf(from), floorOf(roomOf(to))];
    return own === -1 || other === -1 || own >= other;
  });
  expect(imports.length).toBeGreaterThan(200);
  expect(faults).toEqual([]);
});

test.each([
  // A proof is checked, and policies are tested, by the same code on both sides.
  { client: "cli", knows: ["proof", "policy"] },
  { client: "gate", knows: [] },
  { client: "proof", knows: [] },
])("$client knows gen/ and $knows, nothing else of src/", ({ client, knows }) => {
  const own = imports.filter(({ path }) => roomOf(path) === client);
  const rooms: string[] = [client, ...knows];
  const faults = own.filter(({ to }) => to.endsWith(".ts") && !rooms.includes(roomOf(to)) && !to.startsWith("../gen/"));
  expect(own.length).toBeGreaterThan(0);
  expect(faults).toEqual([]);
});

test("only the entries of the processes read the environment", () => {
  const readers = readdirSync(src, { recursive: true, encoding: "utf8" }).filter(
    (path) => path.endsWith(".ts") && /process\.env\b|= process;/.test(readFileSync(join(src, path), "utf8")),
  );
  expect(readers.sort()).toEqual(["cli/main.ts", "main.ts"]);
});

test("the contract of an engine has no method that could change a workflow", () => {
  const text = readFileSync(join(src, "engines/engine.ts"), "utf8");
  const contract = text.slice(
    text.indexOf("export interface Engine {"),
    text.indexOf("export interface Capabilities {"),
  );
  const methods = [...contract.matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name);
  expect(methods.sort()).toEqual(
    [
      "changedSince",
      "count",
      "get",
      "handlersWith",
      "hold",
      "isId",
      "list",
      "observe",
      "open",
      "pausedByGate",
      "probe",
      "release",
      "statuses",
      "timers",
      "trace",
    ].sort(),
  );
});
