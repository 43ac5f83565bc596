import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { addAbortSignal, type Readable } from "node:stream";
import { create } from "@bufbuild/protobuf";
import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { type Selector, SelectorSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { usageFailure } from "./failure.ts";
import { list, moment, nonEmpty, type WorkflowFilter, workflowFilterOptions } from "./options.ts";
import type { Host } from "./session.ts";
import { statusName } from "./view/workflow.ts";

/** What preview and engage select by. */
export interface SelectorFlags extends WorkflowFilter {
  readonly idPrefix?: string;
  readonly namePrefix?: string;
  readonly since?: Timestamp;
  readonly until?: Timestamp;
  readonly workflow?: string[];
  readonly workflowsFrom?: string;
  readonly expr?: string;
  readonly everything?: boolean;
  /** False: --no-descendants. */
  readonly descendants: boolean;
}

export function selectorOptions(command: Command): Command {
  return workflowFilterOptions(command, "PENDING,RUNNING")
    .option("--id-prefix <text>", "only those whose workflow_id begins so", nonEmpty)
    .option("--name-prefix <text>", "only those whose name begins so", nonEmpty)
    .option("--since <when>", "created at or after: an age like 1h, or an RFC 3339 time", moment)
    .option("--until <when>", "created before: an age like 10m, or an RFC 3339 time", moment)
    .option("--workflow <ids>", "only these workflows; repeat it for more", list(nonEmpty))
    .option("--workflows-from <file>", "only the workflows in this file, one workflow_id a line; - is standard input")
    .option("--expr <cel>", "only where this CEL expression over `workflow` is true", nonEmpty)
    .option("--everything", "all workflows there are and will be; it has to be said")
    .option("--no-descendants", "leave out the children of what is held");
}

/** What is shown to who has not said what to hold. */
const selections = [
  "--type RefundAgent --label risk=high",
  '--expr \'workflow.name.startsWith("Refund") && workflow.owner == "payments"\'',
  "--workflows-from ids.txt",
  "--everything",
];

/**
 * The selector that the flags say, the list of --workflows-from read. Throws a usage failure where they say nothing, where
 * they contradict each other, or where the list names nothing: that must never come to mean everything.
 */
export async function readSelector(verb: "preview" | "engage", flags: SelectorFlags, host: Host): Promise<Selector> {
  const narrowed = [
    flags.engine,
    flags.type,
    flags.status,
    flags.label,
    flags.idPrefix,
    flags.namePrefix,
    flags.since,
    flags.until,
    flags.workflow,
    flags.workflowsFrom,
    flags.expr,
  ].some((flag) => flag !== undefined);
  if (flags.everything && narrowed) throw usageFailure("--everything and what selects some are both given: keep one");
  if (!flags.everything && !narrowed) {
    const lines = selections.map((selection) => `  mctl brake ${verb} ${selection}`).join("\n");
    throw usageFailure(`nothing says which workflows to hold. For example:\n${lines}`);
  }
  const listed = flags.workflowsFrom === undefined ? [] : await readWorkflowIds(flags.workflowsFrom, host);
  return create(SelectorSchema, {
    engines: flags.engine ?? [],
    types: flags.type ?? [],
    statuses: flags.status ?? [],
    labels: flags.label ?? [],
    idPrefix: flags.idPrefix ?? "",
    namePrefix: flags.namePrefix ?? "",
    ...(flags.since && { createdAfter: flags.since }),
    ...(flags.until && { createdBefore: flags.until }),
    workflowIds: [...new Set([...(flags.workflow ?? []), ...listed])],
    expression: flags.expr ?? "",
    everything: flags.everything ?? false,
  });
}

/** The flags again, as words of a command line: ages have become times, so that they select the same later. */
export function selectorWords(flags: SelectorFlags): string[] {
  const each = (name: string, values: readonly string[] = []) => values.flatMap((value) => [name, value]);
  const one = (name: string, value: string | undefined) => (value === undefined ? [] : [name, value]);
  const time = (value: Timestamp | undefined) => value && new Date(timestampMs(value)).toISOString();
  return [
    ...each("--engine", flags.engine),
    ...each("--type", flags.type),
    ...each("--status", flags.status?.map(statusName)),
    ...each("--label", flags.label),
    ...one("--id-prefix", flags.idPrefix),
    ...one("--name-prefix", flags.namePrefix),
    ...one("--since", time(flags.since)),
    ...one("--until", time(flags.until)),
    ...each("--workflow", flags.workflow),
    ...one("--workflows-from", flags.workflowsFrom),
    ...one("--expr", flags.expr),
    ...(flags.everything ? ["--everything"] : []),
    ...(flags.descendants ? [] : ["--no-descendants"]),
  ];
}

/** As many as a selector takes. */
const maxWorkflowIds = 10_000;
const maxListBytes = 8 * 1024 * 1024;

async function readWorkflowIds(file: string, host: Host): Promise<string[]> {
  const name = file === "-" ? "standard input" : file;
  if (file === "-" && host.stdin.isTTY) throw usageFailure("--workflows-from - takes its list from a pipe");
  const text = await readAll(file === "-" ? host.stdin : createReadStream(resolve(host.cwd, file)), name, host.signal);
  const ids = new Set<string>();
  for (const [i, line] of text.split("\n").entries()) {
    const id = line.trim();
    if (id === "" || id.startsWith("#")) continue;
    if (/\s/.test(id)) throw usageFailure(`line ${i + 1} of ${name} is not one workflow_id: "${id.slice(0, 80)}"`);
    ids.add(id);
  }
  if (ids.size === 0) throw usageFailure(`${name} names no workflow`);
  if (ids.size > maxWorkflowIds) {
    throw usageFailure(
      `${name} names ${ids.size} workflows, more than ${maxWorkflowIds}: select them by type or label`,
    );
  }
  return [...ids];
}

async function readAll(stream: Readable, name: string, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of addAbortSignal(signal, stream)) {
      size += chunk.length;
      if (size > maxListBytes) break;
      chunks.push(chunk);
    }
  } catch (error) {
    throw usageFailure(`cannot read the list of workflows: ${(error as Error).message}`);
  }
  if (size > maxListBytes) throw usageFailure(`${name} is larger than ${maxListBytes} bytes`);
  return Buffer.concat(chunks).toString("utf8");
}
