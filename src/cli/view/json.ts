import { type DescMessage, type MessageShape, toJson } from "@bufbuild/protobuf";
import type { Terminal } from "../terminal.ts";

/** Writes a message as proto3 JSON on one line. Empty lists and zeros are there, so that a script finds the keys it looks for. */
export function writeJson<D extends DescMessage>(terminal: Terminal, schema: D, message: MessageShape<D>): void {
  terminal.write(`${JSON.stringify(toJson(schema, message, { alwaysEmitImplicit: true }))}\n`);
}
