import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDevDirectory, type DevDirectory, type Ended, root, spawnProcess, until } from "./fixture/dev-process.ts";
import { freePort, isFree } from "./fixture/free-port.ts";

/** What a command that is printed somewhere has to show. */
interface Expected {
  readonly command: RegExp;
  readonly shows: RegExp | ((stdout: string) => Promise<void> | void);
  /** It follows something until Ctrl-C. */
  readonly follows?: true;
  /** It does not have to be there on every machine. */
  readonly optional?: true;
}

const expected: readonly Expected[] = [
  { command: /^npx mctl list$/, shows: /RUNNING .* RefundAgent\/pay/ },
  { command: /^npx mctl list --type RefundAgent --status RUNNING$/, shows: (out) => expect(out).toContain(env.ID) },
  { command: /^export ID=/, shows: /^restate:inv_\w+$/ },
  { command: /^npx mctl pause \$ID /, shows: (out) => expect(out).toContain(`PAUSED  ${env.ID}`) },
  { command: /^npx mctl trace \$ID$/, shows: /pay RF-2026-0001[\s\S]*refunds twice\?/ },
  { command: /^npx mctl resume \$ID /, shows: (out) => expect(out).toContain(`RUNNING  ${env.ID}`) },
  { command: /^npx mctl watch$/, shows: /RUNNING .* RefundAgent\/pay/, follows: true },
  { command: /^npx mctl health$/, shows: /^HEALTHY .* dev mode/ },
  { command: /^npx mctl audit list$/, shows: /OUTCOME .* runtime\.pause .* "refunds twice\?"/ },

  { command: /^npx mctl brake preview /, shows: /RefundAgent\/pay/ },
  { command: /^npx mctl brake engage /, shows: /br_[0-9a-f-]{36}/ },
  { command: /^npx mctl brake list$/, shows: /ENGAGED/ },
  { command: /^export BRAKE=/, shows: /^br_[0-9a-f-]{36}$/ },
  { command: /^npx mctl brake get \$BRAKE$/, shows: /refunds twice\?/ },
  { command: /^npx mctl brake release \$BRAKE /, shows: /RELEASED/ },
  { command: /^npx mctl brake drill /, shows: /stood|stand/i },

  { command: /^export TOKEN=/, shows: /^[\w-]+\.[\w-]+\.[\w-]+$/ },
  { command: /^curl .*\/v1\/workflows\?/, shows: (out) => expect(idsIn(out)).toContain(env.ID) },
  { command: /^curl .*\/\$ID\/pause /, shows: /"newStatus":"PAUSED"/ },
  { command: /^curl .*\/\$ID\/trace$/, shows: /"status":"PAUSED"[\s\S]*"pay RF-2026-0001"[\s\S]*"looks wrong"/ },
  { command: /^curl .*\/\$ID\/resume /, shows: /"action":"resume"[\s\S]*"previousStatus":"PAUSED"/ },
  { command: /^curl -sN .*\/v1\/events$/, shows: /event: SNAPSHOT_END\n/, follows: true },

  { command: /^grpcurl .* list$/, shows: /^missioncontrol\.v1\.MissionControl$/m, optional: true },
  { command: /^grpcurl .*\/ListWorkflows$/, shows: (out) => expect(idsIn(out)).toContain(env.ID), optional: true },
  { command: /^npx buf curl /, shows: (out) => expect(idsIn(out)).toContain(env.ID) },

  { command: /^export S=/, shows: /ingress\.sock$/ },
  { command: /^curl --unix-socket \$S .*\/send/, shows: /"invocationId":"inv_\w+"/ },
  { command: /^curl --unix-socket \$S .*\/awakeables\/<awakeable>\/resolve /, shows: untilSettled },
  { command: /^node -e /, shows: /^\d+ paid, 0 of them more than once$/m },
];
/** These are what a newcomer starts with, and what CI and the tests do already; the tour has a test of its own. */
const elsewhere = /^npm (ci|start|test|run demo)$/;

/** A clone, as far as anybody can tell who works in it. */
const folder = mkdtempSync(join(tmpdir(), "mc-readme-"));
const env = { ID: "", BRAKE: "", TOKEN: "", S: "" };
const hasGrpcurl = (process.env.PATH ?? "").split(delimiter).some((dir) => listed(dir).includes("grpcurl"));
let directory: DevDirectory;

beforeAll(async () => {
  for (const name of listed(root)) {
    if (name !== ".git" && name !== ".mission-control") symlinkSync(join(root, name), join(folder, name));
  }
  const port = (await isFree(8030)) ? 8030 : await freePort();
  directory = await createDevDirectory({ dataDir: join(folder, ".mission-control"), port });
  await directory.start();
});
afterAll(async () => {
  await directory?.remove();
  rmSync(folder, { recursive: true, force: true });
});

describe.each(["README.md", "examples/agents/README.md"])("%s", (file) => {
  describe.each(codeBlocks(file).map((commands) => ({ commands, first: commands[0] })))("$first …", ({ commands }) => {
    // A run of this block's own, that goes on for longer than its commands.
    beforeAll(async () => {
      env.ID = await directory.startAgent("RefundAgent/pay", { batch: `${file} ${commands[0]}` });
      await until("the first payment", async () => (await directory.refunds(`${file} ${commands[0]}`)).length > 0);
    });

    test.each(commands)("%s", async (command) => {
      const known = expected.find((one) => one.command.test(command));
      if (known === undefined) throw new Error("nothing is said in this test about what this command shows");
      const { code, signal, stdout, stderr } = await runAsPrinted(command, known);
      // Ctrl-C: curl dies of it, and so does npx, whatever the exit code of what it ran.
      const end = known.follows ? { code: null, signal: "SIGINT" } : { code: 0, signal: null };
      expect({ code, signal }, stdout + stderr).toEqual(end);
      if (typeof known.shows === "function") await known.shows(stdout);
      else expect(stdout).toMatch(known.shows);
    });
  });
});

test("npm run demo ends with exit 0, every claim checked", async () => {
  const { code, stdout, stderr } = await spawnProcess("npm", ["run", "demo"]).ended;
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toContain("refunds, each paid exactly once");
  expect(stdout.trimEnd()).toMatch(/Every claim above was checked\. That was Mission Control\.$/);
}, 120_000);

test("npm run demo -- --engines all brakes runs of every kind at once, every claim checked", async () => {
  const { code, stdout, stderr } = await spawnProcess("npm", ["run", "demo", "--", "--engines", "all"]).ended;
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toContain("agents: 180 steps, each taken exactly once");
  expect(stdout.trimEnd()).toMatch(/Every claim above was checked\. That was Mission Control\.$/);
}, 240_000);

/** The commands of each code block that are run here: with their comments taken off and their continued lines joined. */
function codeBlocks(file: string): string[][] {
  const text = readFileSync(join(root, file), "utf8");
  const shell = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].filter(
    ([, language]) => language === "" || language === "sh",
  );
  const blocks = shell.map(([, , block = ""]) => {
    const commands: string[] = [];
    let open = "";
    for (const line of block.split("\n")) {
      open += open === "" ? line : `\n${line}`;
      if (open.endsWith("\\") || (open.split("'").length - 1) % 2 === 1) continue;
      const command = open.replace(/ +# .*$/, "").trim();
      if (command !== "" && !elsewhere.test(command)) commands.push(command);
      open = "";
    }
    return commands.filter((command) => hasGrpcurl || !expected.find((one) => one.command.test(command))?.optional);
  });
  return blocks.filter((commands) => commands.length > 0);
}

/** In the clone's folder, with what the reader fills in; on another port where 8030 is not free. */
async function runAsPrinted(command: string, { follows, shows }: Expected): Promise<Ended> {
  const name = /^export (\w+)=/.exec(command)?.[1] as keyof typeof env | undefined;
  let line = command.replaceAll("127.0.0.1:8030", `127.0.0.1:${directory.port}`);
  if (line.includes("<awakeable>")) line = line.replace("<awakeable>", await untilAsked());
  if (name === "ID") line = `export ID=${env.ID}`;
  if (name === "BRAKE")
    line = "export BRAKE=$(npx mctl brake list --state ENGAGED -o json | grep -o 'br_[0-9a-f-]*' | head -n 1)";
  if (name !== undefined) line += `; printf %s "$${name}"`;
  const process = spawnProcess("bash", ["-c", line], {
    cwd: folder,
    group: true,
    env: {
      ...env,
      MCTL_SERVER: directory.url,
      PATH: strangersPath(),
      // npx keeps a link to this folder there, and there is nothing to fetch.
      npm_config_cache: join(folder, ".npm"),
      npm_config_offline: "true",
    },
  });
  if (follows && shows instanceof RegExp) {
    await until(`${command} shows ${shows}`, () => shows.test(process.output()));
    globalThis.process.kill(-(process.child.pid as number), "SIGINT");
  }
  const ended = await process.ended;
  if (name !== undefined) env[name] = ended.stdout;
  return ended;
}

/** Without what `npm test` adds: a reader's shell finds nothing of node_modules. */
function strangersPath(): string {
  const own = (process.env.PATH ?? "").split(delimiter).filter((dir) => !dir.includes("node_modules"));
  return own.join(delimiter);
}

/** The approval that the latest orchestrator waits for. */
async function untilAsked(): Promise<string> {
  const approvals = join(directory.dataDir, "work/approvals");
  const files = () => listed(approvals).filter((name) => name.endsWith(".json"));
  await until("a request for approval", () => files().length > 0);
  const { awakeable } = JSON.parse(readFileSync(join(approvals, files()[0] as string), "utf8"));
  return awakeable;
}

/** What was approved goes on, pays and settles. */
async function untilSettled(): Promise<void> {
  const work = join(directory.dataDir, "work");
  await until("a settlement", () => listed(work).some((name) => name.startsWith("settlement-")));
}

function idsIn(json: string): string[] {
  const { workflows = [] } = JSON.parse(json) as { workflows?: { workflowId: string }[] };
  return workflows.map(({ workflowId }) => workflowId);
}

function listed(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}
