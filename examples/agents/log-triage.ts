import { appendFile, mkdir, open, readFile, realpath, stat, writeFile } from "node:fs/promises";
import { basename, join, sep } from "node:path";
import * as restate from "@restatedev/restate-sdk";
import { stepOptions } from "./options.ts";
import type { Settings } from "./settings.ts";

/** What was found in one chunk of the log, or in all of it. */
interface Tally {
  lines: number;
  levels: Record<string, number>;
  /** How often each kind of message occurs: numbers and ids are taken out. */
  messages: Record<string, number>;
}

const chunkBytes = 16 << 10;
const maxChunks = 256;
const longestLine = 64 << 10;
const parallel = 4;
const keptMessages = 20;

/** Triages a log file in chunks, four at a time, and writes a summary of its levels and its most frequent messages. */
export function logTriage(settings: Settings) {
  return restate.service({
    name: "LogTriage",
    handlers: {
      /**
       * `file`: a log (`*.log`, `LOG*`) below the data directory, default `logs/restate.log`; at most its first 4 MiB.
       * `settleMs`: how long to wait before the summary.
       */
      triage: async (ctx: restate.Context, input?: { file?: string; settleMs?: number }) => {
        const { id } = ctx.request();
        const { path, size } = await ctx.run("open log", () =>
          openLog(settings.dataDir, input?.file ?? "logs/restate.log"),
        );
        const chunks = Math.min(maxChunks, Math.ceil(size / chunkBytes));
        const total: Tally = { lines: 0, levels: {}, messages: {} };
        for (let first = 0; first < chunks; first += parallel) {
          const group = Array.from({ length: Math.min(parallel, chunks - first) }, (_, i) => first + i);
          const tallies = await restate.RestatePromise.all(
            group.map((chunk) =>
              ctx.run(`triage chunk ${chunk + 1} of ${chunks}`, () => tallyChunk(path, size, chunk)),
            ),
          );
          for (const tally of tallies) add(total, tally);
        }
        await ctx.run("index findings", () => indexFindings(settings.workDir, id, total), {
          initialRetryInterval: 500,
          maxRetryInterval: 2_000,
          maxRetryAttempts: 10,
        });
        await ctx.sleep(Math.min(60_000, Math.max(0, input?.settleMs ?? 3_000)), "let late lines settle");
        const file = `log-triage-${id}.md`;
        await ctx.run("write summary", () => writeFile(join(settings.workDir, file), summary(path, total)));
        return { lines: total.lines, levels: total.levels, report: file };
      },
    },
    options: stepOptions,
    metadata: { owner: "sre-team", team: "observability", risk: "low" },
  });
}

/** The log's real path and its size now. What is not a log below the data directory is refused for good. */
async function openLog(dataDir: string, file: string): Promise<{ path: string; size: number }> {
  const refuse = (why: string) =>
    new restate.TerminalError(`${file.slice(0, 200)} cannot be triaged: ${why}. Name a log below the data directory.`, {
      errorCode: 400,
    });
  const root = await realpath(dataDir);
  const path = await realpath(join(root, file)).catch(() => undefined);
  if (path === undefined) throw refuse("there is no such file");
  if (!path.startsWith(root + sep)) throw refuse("it is outside of the data directory");
  if (!/^(LOG.*|.*\.log(\.\d+)?)$/.test(basename(path))) throw refuse("it is no log file");
  const found = await stat(path);
  if (!found.isFile()) throw refuse("it is no file");
  return { path, size: found.size };
}

/** Counts the lines that begin in the chunk. */
async function tallyChunk(path: string, size: number, chunk: number): Promise<Tally> {
  const start = chunk * chunkBytes;
  const end = Math.min(size, start + chunkBytes);
  const file = await open(path);
  try {
    // From the byte before, to see whether a line begins here; past the end, to have the whole of the last line.
    const from = Math.max(0, start - 1);
    const buffer = Buffer.alloc(Math.min(size, end + longestLine) - from);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, from);
    const begin = start === 0 ? 0 : buffer.indexOf(10) + 1;
    const last = buffer.indexOf(10, end - from - 1);
    const text = begin === 0 && start > 0 ? "" : buffer.toString("utf8", begin, last === -1 ? bytesRead : last);
    return tally(begin > end - from ? "" : text);
  } finally {
    await file.close();
  }
}

function tally(text: string): Tally {
  const result: Tally = { lines: 0, levels: {}, messages: {} };
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const { level, message } = read(line);
    const kind = message.replace(/\b(?:inv|dp|prom)_\w+|\b0x[\da-f]+|\d+/gi, "#").slice(0, 120);
    add(result, { lines: 1, levels: { [level]: 1 }, messages: { [kind]: 1 } });
  }
  return result;
}

/** The engine writes JSON, its storage and the agents plain text. */
function read(line: string): { level: string; message: string } {
  try {
    const { level, fields, msg } = JSON.parse(line);
    return { level: String(level).toUpperCase(), message: String(fields?.message ?? msg ?? "") };
  } catch {
    const level = /\b(ERROR|WARN|INFO|DEBUG|TRACE)\b/.exec(line)?.[1] ?? "OTHER";
    return { level, message: line.replace(/^\S*\d+:\d+:\d+\S*\s+(\w+\s+)?/, "") };
  }
}

function add(total: Tally, more: Tally): void {
  total.lines += more.lines;
  for (const [level, count] of Object.entries(more.levels)) total.levels[level] = (total.levels[level] ?? 0) + count;
  for (const [kind, count] of Object.entries(more.messages)) {
    if (kind in total.messages || Object.keys(total.messages).length < 200) {
      total.messages[kind] = (total.messages[kind] ?? 0) + count;
    }
  }
}

/** The index of this sample is always busy for the first two attempts: a flaky dependency that one can rely on. */
async function indexFindings(workDir: string, id: string, total: Tally): Promise<number> {
  await mkdir(workDir, { recursive: true });
  const attempts = join(workDir, `log-triage-${id}.attempts`);
  await appendFile(attempts, `${new Date().toISOString()} pid ${process.pid}\n`);
  const attempt = (await readFile(attempts, "utf8")).trim().split("\n").length;
  if (attempt < 3) throw new Error(`the index is busy (attempt ${attempt})`);
  await appendFile(join(workDir, "log-index.jsonl"), `${JSON.stringify({ workflowId: id, lines: total.lines })}\n`);
  return attempt;
}

function summary(path: string, total: Tally): string {
  const frequent = Object.entries(total.messages).sort(([, a], [, b]) => b - a);
  return [
    `# Log triage of ${basename(path)}`,
    "",
    `${total.lines} lines: ${Object.entries(total.levels)
      .map(([level, count]) => `${count} ${level}`)
      .join(", ")}.`,
    "",
    "| count | message |",
    "| ---: | --- |",
    ...frequent.slice(0, keptMessages).map(([kind, count]) => `| ${count} | ${kind.replaceAll("|", "\\|")} |`),
    "",
  ].join("\n");
}
