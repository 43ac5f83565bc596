import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { mctl } from "../cli/run.ts";
import { createServeDirectory } from "../fixture/serve-process.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/audit.md"), "utf8");

test("the commands of docs/audit.md do what the page says, one after the other", { timeout: 120_000 }, async () => {
  const server = await createServeDirectory();
  try {
    await server.start(server.config());
    const token = await server.issuer.token({ subject: "anna", roles: ["sre_admin", "auditor"] });
    writeFileSync(join(server.dir, "token"), token, { mode: 0o600 });
    const env = {
      MCTL_SERVER: `http://127.0.0.1:${server.port}`,
      MCTL_TOKEN_FILE: join(server.dir, "token"),
      MCTL_DATA_DIR: join(server.dir, "data"),
    };
    const run = (args: string[]) => mctl(args, { env, cwd: server.dir });
    const { entries } = JSON.parse((await run(["audit", "list", "-o", "json"])).stdout);
    const lines = [...page.matchAll(/^mctl (.*?)(?: +#.*)?$/gm)].map(([, line = ""]) => line);
    // A workflow needs an engine (the README's test pauses some), and what follows never ends.
    const here = lines.filter((line) => !/\$ID|--follow/.test(line));
    expect(here.length).toBeGreaterThan(9);
    for (const line of here) {
      const words = line.replace("$ENTRY", entries[0].entryId).match(/"[^"]*"|\S+/g) ?? [];
      const { code, stderr } = await run(words.map((word) => word.replaceAll('"', "")));
      expect({ line, code, stderr: code === 0 ? "" : stderr }).toEqual({ line, code: 0, stderr: "" });
    }
  } finally {
    await server.remove();
  }
});
