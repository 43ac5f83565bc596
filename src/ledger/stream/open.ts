import { join } from "node:path";
import type { Logger } from "../../log.ts";
import type { Store } from "../../store/store.ts";
import { Cursor } from "./cursor.ts";
import { JsonlSink } from "./jsonl-sink.ts";
import { OtlpSink } from "./otlp-sink.ts";
import type { SinkConfig } from "./sink.ts";
import { LedgerStream } from "./stream.ts";

/** A stream to each configured sink; their cursors are files of the directory. They begin when they are started. */
export function openStreams(
  configs: readonly SinkConfig[],
  { store, directory, version, log }: { store: Store; directory: string; version: string; log: Logger },
): LedgerStream[] {
  return configs.map((config) => {
    const sink = "file" in config ? new JsonlSink(config.name, config.file) : new OtlpSink({ ...config, version });
    return new LedgerStream({ store, sink, cursor: new Cursor(join(directory, config.name)), log });
  });
}
