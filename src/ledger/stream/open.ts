import { join } from "node:path";
import { Cursor } from "./cursor.ts";
import { JsonlSink } from "./jsonl-sink.ts";
import { OtlpSink } from "./otlp-sink.ts";
import type { SinkConfig } from "./sink.ts";
import { LedgerStream, type StreamOptions } from "./stream.ts";

/** A stream to each configured sink; their cursors are files of the directory. They begin when they are started. */
export function openStreams(
  configs: readonly SinkConfig[],
  {
    directory,
    version,
    ...options
  }: Pick<StreamOptions, "store" | "onLeftOut" | "log"> & { directory: string; version: string },
): LedgerStream[] {
  return configs.map((config) => {
    const sink = "file" in config ? new JsonlSink(config.name, config.file) : new OtlpSink({ ...config, version });
    return new LedgerStream({ ...options, sink, cursor: new Cursor(join(directory, config.name)) });
  });
}
