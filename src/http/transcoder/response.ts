import {
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  type MessageShape,
  toJson,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { toConnectError } from "../../interceptors/errors.ts";
import { statusJson } from "../status.ts";
import type { Binding } from "./routes.ts";

/** The JSON of a response message, or of the field of it that the binding answers with. */
export function responseJson({ method, responseBody }: Binding, message: MessageShape<DescMessage>): JsonValue {
  if (responseBody === undefined) return toJson(method.output, message);
  const json = toJson(method.output, message) as JsonObject;
  return json[responseBody.jsonName] ?? emptyJson(responseBody);
}

/** What stands for a field that is not set: the proto3 mapping leaves it out, but an answer has to be something. */
function emptyJson(field: DescField): JsonValue {
  if (field.fieldKind === "list") return [];
  if (field.fieldKind === "map" || field.fieldKind === "message") return {};
  return null;
}

/** How a stream is written: what goes before, for and after each message. */
export interface StreamFormat {
  readonly contentType: string;
  message(message: MessageShape<DescMessage>): string;
  /** The stream ended with this; HTTP has no other place for it. */
  failure(failure: unknown): string;
  /** What keeps a silent stream alive; undefined: nothing may stand between messages. */
  readonly heartbeat: string | undefined;
}

/** One message a line; an error is a last line {"error": google.rpc.Status}. */
export function ndjson(binding: Binding): StreamFormat {
  return {
    contentType: "application/x-ndjson",
    message: (message) => `${JSON.stringify(responseJson(binding, message))}\n`,
    failure: (failure) => `${JSON.stringify({ error: statusJson(toConnectError(failure)) })}\n`,
    heartbeat: undefined,
  };
}

/**
 * Server-Sent Events: `id` is the message's resume_token, `event` its kind, where it has these fields. An error is a last
 * event "error" with google.rpc.Status as its data.
 */
export function serverSentEvents(binding: Binding): StreamFormat {
  const { output } = binding.method;
  const token = output.fields.find((field) => field.name === "resume_token");
  const kind = output.fields.find((field) => field.name === "kind");
  return {
    contentType: "text/event-stream",
    message(message) {
      const values = reflect(output, message);
      const id = token?.fieldKind === "scalar" ? String(values.get(token)) : "";
      const name = kind?.fieldKind === "enum" ? kind.enum.value[Number(values.get(kind))]?.name : undefined;
      return [
        ...(name === undefined ? [] : [`event: ${name}`]),
        // A line break would end the field, and a reader ignores an id with a NUL.
        ...(id === "" || /[\r\n\0]/.test(id) ? [] : [`id: ${id}`]),
        `data: ${JSON.stringify(responseJson(binding, message))}\n\n`,
      ].join("\n");
    },
    failure: (failure) => `event: error\ndata: ${JSON.stringify(statusJson(toConnectError(failure)))}\n\n`,
    heartbeat: ":\n\n",
  };
}
