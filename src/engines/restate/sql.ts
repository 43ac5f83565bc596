import type { EngineStatus, ListQuery, OpenQuery, WorkflowQuery } from "../engine.ts";
import { canceledFailures, type ServiceMetadata } from "./rows.ts";

/**
 * Restate's SQL has no bind parameters: an id reaches SQL only if it is one. It is "inv_1", a partition key of 64 bits and a
 * UUID, both in base 62: the engine fails a whole query for one that is too large.
 */
const idPattern = /^inv_1[A-Za-z0-9]{33}$/;
const places = { partitionKey: 5, uuid: 16 } as const;

/** Asked of every id of a fleet, again and again. */
export function isInvocationId(text: string): boolean {
  return idPattern.test(text) && fits(text, places.partitionKey, largest64) && fits(text, places.uuid, largest128);
}

const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const largest64 = inBase62(2n ** 64n - 1n);
const largest128 = inBase62(2n ** 128n - 1n);

function inBase62(value: bigint): string {
  return (value >= 62n ? inBase62(value / 62n) : "") + digits[Number(value % 62n)];
}

/** True where what stands there is at most the largest, of as many digits: the first that differs decides. */
function fits(text: string, at: number, largest: string): boolean {
  for (let n = 0; n < largest.length; n++) {
    const difference = digits.indexOf(text[at + n] ?? "") - digits.indexOf(largest[n] ?? "");
    if (difference !== 0) return difference < 0;
  }
  return true;
}

/** A text as an SQL literal. What is no text in UTF-8, the engine takes in no query. */
export function quote(text: string): string {
  return `'${text.toWellFormed().replaceAll("'", "''")}'`;
}

/** `('a', 'b')`; the list must not be empty. */
export function inList(texts: readonly string[]): string {
  return `(${texts.map(quote).join(", ")})`;
}

/** Nanoseconds in 64 bits reach from 1677 to 2262: what is beyond is as good as the end of it. */
const reach = { from: Date.UTC(1700, 0), to: Date.UTC(2200, 0) } as const;

/** A moment as an SQL literal. */
export function timestamp(date: Date): string {
  const within = new Date(Math.min(Math.max(date.getTime(), reach.from), reach.to));
  return `TIMESTAMP ${quote(within.toISOString())}`;
}

/** The WHERE clause of a count; undefined where nothing can match. */
export const countWhere = whereOf;

/** The WHERE clause of a list; undefined where nothing can match. */
export function listWhere(query: ListQuery, metadata: ServiceMetadata): string | undefined {
  const where = whereOf(query, metadata);
  if (where === undefined || query.after === undefined) return where;
  const at = timestamp(query.after.createTime);
  return `${where} AND (created_at < ${at} OR (created_at = ${at} AND id < ${quote(query.after.id)}))`;
}

/** The WHERE clause of open workflows; undefined where nothing can match. */
export function openWhere(query: OpenQuery, metadata: ServiceMetadata): string | undefined {
  const any = query.anyOf.map((one) => whereOf(one, metadata)).filter((where) => where !== undefined);
  if (query.children) any.push("invoked_by_id IS NOT NULL");
  if (any.length === 0) return undefined;
  return `status NOT IN ${inList(query.paused ? ["completed"] : ["completed", "paused"])} AND ${anyOf(any)}`;
}

function whereOf(query: WorkflowQuery, metadata: ServiceMetadata): string | undefined {
  const all: string[] = [];
  if (query.statuses !== undefined) {
    if (query.statuses.length === 0) return undefined;
    all.push(anyOf(query.statuses.map(statusCondition)));
  }
  if (query.ids !== undefined) {
    const ids = query.ids.filter(isInvocationId);
    if (ids.length === 0) return undefined;
    all.push(`id IN ${inList(ids)}`);
  }
  if (query.idPrefix) all.push(`starts_with(id, ${quote(query.idPrefix)})`);
  if (query.namePrefix) all.push(`starts_with(target, ${quote(query.namePrefix)})`);
  if (query.types?.length === 0) return undefined;
  if (query.types) all.push(`target_service_name IN ${inList(query.types)}`);
  if (query.createdAfter) all.push(`created_at >= ${timestamp(query.createdAfter)}`);
  if (query.createdBefore) all.push(`created_at < ${timestamp(query.createdBefore)}`);
  for (const [key, value] of Object.entries(query.labels ?? {})) {
    const condition = labelCondition(key, value, metadata);
    if (condition === undefined) return undefined;
    all.push(condition);
  }
  if (query.within !== undefined) {
    const any = query.within.map((one) => whereOf(one, metadata)).filter((where) => where !== undefined);
    if (any.length === 0) return undefined;
    all.push(anyOf(any));
  }
  return all.length === 0 ? "true" : `(${all.join(" AND ")})`;
}

function statusCondition(status: EngineStatus): string {
  const canceled = `lower(completion_failure) IN ${inList(canceledFailures)}`;
  switch (status) {
    case "pending":
      return "status IN ('scheduled', 'inboxed')";
    case "running":
      return "status IN ('invoked', 'suspended')";
    case "paused":
      return "status = 'paused'";
    case "completed":
      return "(status = 'completed' AND completion_result = 'success')";
    case "canceled":
      return `(status = 'completed' AND ${canceled})`;
    case "failed":
      return `(status = 'completed' AND completion_result = 'failure' AND NOT ${canceled})`;
    case "silent":
    case "rolledBack":
      return "false";
  }
}

/** Labels that come from metadata are known here, not in the engine's tables: they become services and handlers. */
function labelCondition(key: string, value: string, metadata: ServiceMetadata): string | undefined {
  if (key === "service") return `target_service_name = ${quote(value)}`;
  if (key === "handler") return `target_handler_name = ${quote(value)}`;
  if (key === "key") return `target_service_key = ${quote(value)}`;
  const matching: string[] = [];
  for (const [service, { labels, handlers }] of metadata) {
    const names = [...handlers].filter(([, own]) => (own[key] ?? labels[key]) === value).map(([name]) => name);
    if (names.length === 0) continue;
    matching.push(`(target_service_name = ${quote(service)} AND target_handler_name IN ${inList(names)})`);
  }
  return matching.length === 0 ? undefined : anyOf(matching);
}

function anyOf(conditions: readonly string[]): string {
  return `(${conditions.join(" OR ")})`;
}
