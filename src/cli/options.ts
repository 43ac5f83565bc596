import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema, type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Command, InvalidArgumentError } from "commander";
import { Workflow_Status } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import { parseDuration } from "./duration.ts";

/** A parser for an option that may be given several times, each time with one value or several between commas. */
export function list<T>(parse: (text: string) => T): (text: string, before: T[] | undefined) => T[] {
  return (text, before = []) => [...before, ...text.split(",").map((part) => parse(part.trim()))];
}

/** A parser for an option that may be given several times, with values that may hold commas. */
export function repeat<T>(parse: (text: string) => T): (text: string, before: T[] | undefined) => T[] {
  return (text, before = []) => [...before, parse(text)];
}

/** A parser for the names of a protobuf enum, in any case, but not its zero value. */
export function enumValue<T extends number>(values: Readonly<Record<string, unknown>>): (text: string) => T {
  return (text) => {
    const value = values[text.toUpperCase()];
    if (typeof value === "number" && value !== 0) return value as T;
    const names = Object.entries(values).filter(([, number]) => typeof number === "number" && number !== 0);
    throw new InvalidArgumentError(`Known: ${names.map(([name]) => name).join(", ")}.`);
  };
}

export function nonEmpty(text: string): string {
  if (text === "") throw new InvalidArgumentError("It must not be empty.");
  return text;
}

export function keyValue(text: string): string {
  if (!/^[^=]+=/.test(text)) throw new InvalidArgumentError("It must be key=value.");
  return text;
}

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 1_000_000) {
    throw new InvalidArgumentError("It must be a whole number from 1 to 1000000.");
  }
  return value;
}

/** The sequence of an entry; 0: before the first. */
export function sequence(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("It must be the sequence of an entry, a whole number.");
  return Number(text);
}

export function durationMs(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError("It must be a duration like 500ms, 10s, 5m, 1h30m or 2d.");
  return ms;
}

/** A moment: an age ("1h" is an hour ago) or an RFC 3339 time. */
export function moment(text: string): Timestamp {
  const age = parseDuration(text);
  if (age !== undefined) return timestampFromMs(Date.now() - age);
  const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time))
    throw new InvalidArgumentError("It must be an age like 1h30m or a time like 2026-11-22T08:30Z.");
  return timestampFromMs(time);
}

export function protoDuration(ms: number): Duration {
  return create(DurationSchema, { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1_000_000 });
}

/** What list and watch select by. */
export interface WorkflowFilter {
  readonly status?: Workflow_Status[];
  readonly type?: string[];
  readonly engine?: string[];
  readonly label?: string[];
}

export function workflowFilterOptions(command: Command, statuses = "RUNNING,PAUSED"): Command {
  return command
    .option(
      "--status <names>",
      `only these statuses, e.g. ${statuses}`,
      list(enumValue<Workflow_Status>(Workflow_Status)),
    )
    .option("--type <names>", "only these types, e.g. RefundAgent", list(nonEmpty))
    .option("--engine <names>", "only on these engines", list(nonEmpty))
    .option("--label <key=value>", "only with this label; repeat it for more, all have to match", repeat(keyValue));
}

/** The request fields of a filter. */
export function workflowFilter(filter: WorkflowFilter) {
  return {
    status: filter.status ?? [],
    type: filter.type ?? [],
    engine: filter.engine ?? [],
    label: filter.label ?? [],
  };
}

/** Help text after the options: what one types. */
export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join("\n")}`;
}
