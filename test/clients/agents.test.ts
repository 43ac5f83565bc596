import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { root, type Spawned, spawnProcess, until } from "../fixture/dev-process.ts";
import { createServeDirectory, type ServeDirectory } from "../fixture/serve-process.ts";
import { installPythonClient, noPython } from "./python-environment.ts";

/** Each in its own process. */
const batches = 25;
const refunds = 30;
const ms = 100;

const folder = mkdtempSync(join(tmpdir(), "mc-clients-"));
let python: NodeJS.ProcessEnv | undefined;
let directory: ServeDirectory;
beforeAll(async () => {
  directory = await createServeDirectory();
  if (noPython === undefined) python = await installPythonClient(folder);
}, 180_000);
afterAll(async () => {
  await directory?.remove();
  rmSync(folder, { recursive: true, force: true });
});

test.skipIf(noPython)(
  `the Python client's own tests pass, and its types hold (${noPython ?? "with python3"})`,
  async () => {
    const cwd = join(root, "clients/python");
    const checks = [
      ["-m", "pytest", "-q", "-p", "no:cacheprovider"],
      ["-m", "mypy", "--cache-dir", join(folder, "mypy")],
    ];
    for (const args of checks) {
      const { code, stdout, stderr } = await spawnProcess("python3", args, { cwd, env: python ?? {} }).ended;
      expect(code, stdout + stderr).toBe(0);
    }
  },
  120_000,
);

describe("agents without an engine, in processes of their own", () => {
  const ledger = join(folder, "refunds.jsonl");
  const config = () => ({ ...directory.config(), engines: [{ name: "agents", kind: "gate" }] });
  const agents: Spawned[] = [];
  let server: Spawned;
  let authorization = "";
  afterAll(async () => {
    for (const { child, ended } of agents) {
      child.kill("SIGKILL");
      await ended;
    }
  });

  async function rest<Answer>(path: string, body?: object): Promise<Answer> {
    const answer = await fetch(`http://127.0.0.1:${directory.port}${path}`, {
      headers: { authorization, "content-type": "application/json" },
      ...(body && { method: "POST", body: JSON.stringify(body) }),
    });
    const told = (await answer.json()) as Answer;
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${JSON.stringify(told)}`);
    return told;
  }
  interface Line {
    readonly time: number;
    readonly workflow: string;
    readonly step: string;
  }
  const lines = () =>
    readFileSync(ledger, { encoding: "utf8", flag: "a+" })
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Line);
  const workflows = async (status: string) =>
    (await rest<{ workflows?: unknown[] }>(`/v1/workflows?page_size=200&status=${status}`)).workflows?.length ?? 0;
  const all = batches * (noPython === undefined ? 2 : 1);

  test("a brake holds them all, also over a kill -9 of the server; released, each step has begun exactly once", async () => {
    server = await directory.start(config());
    authorization = `Bearer ${await directory.issuer.token({ subject: "alice", roles: ["sre_admin"] })}`;
    const made = await rest<{ secret: string }>("/v1/gate-tokens", { name: "a", engine: "agents", reason: "test" });
    const env = { GATE_URL: `http://127.0.0.1:${directory.port}`, GATE_TOKEN: made.secret };
    const selector = { labels: ["team=payments"] };
    interface Brake {
      readonly brakeId: string;
      readonly receipt: { readonly gates?: readonly { readonly ackTime?: string }[] };
    }
    const engage = async () =>
      (await rest<{ brake: Brake }>("/v1/brakes", { selector, reason: "the amounts look wrong", gate_wait: "10s" }))
        .brake;
    const release = ({ brakeId }: Brake) => rest(`/v1/brakes/${brakeId}/release`, { reason: "they are right" });
    // Both start their first step at once, however long they take to come up.
    const first = await engage();
    const [b, r] = [String(batches), String(refunds)];
    agents.push(
      spawnProcess(process.execPath, ["examples/typescript-agent/main.ts", b, r, String(ms), ledger], { env }),
    );
    if (python) {
      const flags = ["--batches", b, "--refunds", r, "--seconds", String(ms / 1000), "--ledger", ledger];
      const own = { env: { ...python, ...env } };
      agents.push(spawnProcess("python3", ["-u", "examples/python-agent/main.py", ...flags], own));
    }
    const begun = () => new Set(lines().map(({ workflow }) => workflow)).size;
    await until("all to be PAUSED before their first step", async () => {
      for (const { child, output } of agents) if (child.exitCode !== null) throw new Error(output());
      return (await workflows("PAUSED")) === all;
    });
    expect(lines()).toEqual([]);
    await release(first);
    await until("every workflow to take a step", () => begun() === all);

    const brake = await engage();
    const answered = Date.now();
    expect(brake.receipt.gates?.map(({ ackTime }) => ackTime !== undefined)).toEqual(agents.map(() => true));
    await until("all to be PAUSED", async () => (await workflows("PAUSED")) === all);
    const held = lines().length;
    expect(lines().filter(({ time }) => time > answered)).toEqual([]);

    server.child.kill("SIGKILL");
    await server.ended;
    await Promise.all(agents.map((agent) => agent.untilPrinted("no connection to Mission Control")));
    await delay(5 * ms);
    expect(lines().length).toBe(held);
    server = await directory.start(config());
    await until("all to be PAUSED again", async () => (await workflows("PAUSED")) === all);
    expect(lines().length).toBe(held);

    await release(brake);
    for (const agent of agents) expect(await agent.ended).toMatchObject({ code: 0 });
    const steps = lines().map(({ workflow, step }) => `${workflow} ${step}`);
    expect(steps.length).toBe(all * refunds);
    expect(new Set(steps).size).toBe(all * refunds);
    await until("all to be COMPLETED", async () => (await workflows("COMPLETED")) === all);
    const [{ workflow }] = lines() as [Line];
    const trace = await rest<{ entries: { kind: string }[] }>(`/v1/workflows/agents:${workflow}/trace`);
    expect(trace.entries.filter(({ kind }) => kind === "STEP").length).toBe(refunds);
  }, 120_000);

  /** The first block of a document in a language, with this server for the one that it names. */
  const shown = (document: string, language: string) => {
    const text = readFileSync(join(root, document), "utf8");
    const block = new RegExp(`\`\`\`${language}\\n((?:(?!\`\`\`)[^])*engine[:=][^]*?)\`\`\``).exec(text)?.[1];
    if (block === undefined) throw new Error(`${document} shows no ${language} for an engine`);
    return block.replaceAll("http://127.0.0.1:8030", `http://127.0.0.1:${directory.port}`);
  };

  test("what docs/gate.md and the client's README show works as it stands there", async () => {
    const command = /^npx mctl (gate token create my-agents .*)$/m.exec(
      readFileSync(join(root, "docs/gate.md"), "utf8"),
    );
    const words = [...String(command?.[1]).matchAll(/"([^"]*)"|(\S+)/g)].map(
      ([, quoted, word]) => quoted ?? word ?? "",
    );
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, authorization.replace("Bearer ", ""), { mode: 0o600 });
    const at = ["--server", `http://127.0.0.1:${directory.port}`, "--token-file", tokenFile];
    const made = await spawnProcess(process.execPath, ["bin/mctl.js", ...words, ...at]).ended;
    const GATE_TOKEN = /mcgt_[\w-]+/.exec(made.stdout + made.stderr)?.[0];
    expect(GATE_TOKEN, made.stdout + made.stderr).toBeDefined();
    const env = { ...python, GATE_TOKEN };

    const script = join(folder, "agent.ts");
    const gateModule = JSON.stringify(join(root, "src/gate/index.ts"));
    writeFileSync(script, shown("docs/gate.md", "ts").replace('"mission-control/gate"', gateModule));
    const programs = [[process.execPath, script]];
    for (const document of python ? ["docs/gate.md", "clients/python/README.md"] : []) {
      const file = join(folder, `${programs.length}.py`);
      writeFileSync(file, shown(document, "python"));
      programs.push(["python3", file]);
    }
    for (const [program = "", file = ""] of programs) {
      const before = await workflows("COMPLETED");
      const { code, stdout, stderr } = await spawnProcess(program, [file], { env }).ended;
      expect({ code, stdout: stdout.trim() }, stderr).toEqual({ code: 0, stdout: "paid RF-1\npaid RF-2" });
      expect(await workflows("COMPLETED")).toBe(before + 1);
    }
  }, 60_000);
});
