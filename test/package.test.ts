import { mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { root, spawnProcess, until } from "./fixture/dev-process.ts";
import { freePort } from "./fixture/free-port.ts";

const folder = mkdtempSync(join(tmpdir(), "mc-pack-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("what npm pack packs starts dev mode, and its mctl brakes an agent", async () => {
  const packed = await spawnProcess("npm", ["pack", "--pack-destination", folder]).ended;
  expect(packed.code, packed.stderr).toBe(0);
  const [tarball] = readdirSync(folder);
  expect((await spawnProcess("tar", ["xzf", String(tarball)], { cwd: folder }).ended).code).toBe(0);
  const cwd = join(folder, "package");
  // What npm install would bring.
  symlinkSync(join(root, "node_modules"), join(cwd, "node_modules"));
  const run = (...args: string[]) => spawnProcess(process.execPath, args, { cwd });

  const port = String(await freePort());
  const server = run("bin/mission-control.js", "dev", "--port", port, "--agents-port", String(await freePort()));
  try {
    await server.untilPrinted("Ctrl-C stops it");
    const mctl = (...args: string[]) => run("bin/mctl.js", ...args, "--server", `http://127.0.0.1:${port}`).ended;
    let id: string | undefined;
    await until("the driver to start a refund agent", async () => {
      const { stdout } = await mctl("list", "--type", "RefundAgent", "--output", "json");
      [id] = /restate:inv_\w+/.exec(stdout) ?? [];
      return id !== undefined;
    });
    expect((await mctl("pause", String(id), "--reason", "test")).stdout).toContain(`PAUSED  ${id}`);
    for (const page of ["/docs", "/docs/swagger-ui-bundle.js", "/openapi.json"]) {
      expect((await fetch(`http://127.0.0.1:${port}${page}`)).status).toBe(200);
    }
  } finally {
    server.child.kill("SIGTERM");
  }
  expect(await server.ended).toMatchObject({ code: 0, stderr: "" });
}, 60_000);
