import type { DescField, DescMethod, Message } from "@bufbuild/protobuf";
import { governanceOf } from "./governance.ts";

/** What requests have in common, by the names of their fields; "" and false where a request has no such field. */
export interface RequestFacts {
  /** The workflow that the request names, as the caller wrote it. */
  readonly target: string;
  readonly reason: string;
  readonly emergency: boolean;
  readonly requestId: string;
  readonly ticket: string;
  /** The brake that the request names, as the caller wrote it. */
  readonly brakeId: string;
}

/** Reads what requests have in common. The request may not have been validated yet. */
export function requestFacts(method: DescMethod, request: Message | undefined): RequestFacts {
  const value = (field: DescField | undefined): unknown =>
    field && request ? (request as unknown as Record<string, unknown>)[field.localName] : undefined;
  const text = (field: DescField | undefined): string => {
    const found = value(field);
    return typeof found === "string" ? found : "";
  };
  const { field } = method.input;
  return {
    target: text(governanceOf(method).target),
    reason: text(field.reason),
    emergency: value(field.emergency) === true,
    requestId: text(field.requestId),
    ticket: text(field.ticket),
    brakeId: text(field.brakeId),
  };
}
