import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { toJsonString } from "@bufbuild/protobuf";
import { type AuditEntry, AuditEntrySchema } from "../../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Sink } from "./sink.ts";

/**
 * Entries as lines of JSON, appended to a file that only its owner reads. It is opened anew for each delivery, so that it can be
 * moved away and rotated at any time.
 */
export class JsonlSink implements Sink {
  readonly name: string;
  readonly #path: string;

  constructor(name: string, path: string) {
    this.name = name;
    this.#path = path;
  }

  async deliver(entries: readonly AuditEntry[], signal: AbortSignal): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    signal.throwIfAborted();
    const file = await open(this.#path, "a+", 0o600);
    try {
      const lines = entries.map((entry) => `${toJsonString(AuditEntrySchema, entry)}\n`).join("");
      // What a full disk or a crash cut off would make one line of two.
      const torn = await endsInTheMiddle(file);
      await file.writeFile(torn ? `\n${lines}` : lines);
      await file.datasync();
    } finally {
      await file.close();
    }
  }
}

async function endsInTheMiddle(file: Awaited<ReturnType<typeof open>>): Promise<boolean> {
  const { size } = await file.stat();
  if (size === 0) return false;
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer.toString() !== "\n";
}
