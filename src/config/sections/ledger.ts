import * as z from "zod";
import type { SinkConfig } from "../../ledger/stream/sink.ts";
import { duration, isSafe, name, path, section, text } from "../section.ts";

/** Where the ledger is streamed to. */
function sink(baseDir: string) {
  return section({
    name: name(),
    /** A file that lines of JSON are appended to. */
    jsonl_file: path(baseDir).optional(),
    /** An OpenTelemetry collector's endpoint for logs (OTLP over HTTP). */
    otlp_url: z
      .url({ protocol: /^https?$/, error: "has to be a URL like https://collector.internal:4318/v1/logs" })
      .optional(),
    /** Why it is spoken to without TLS, where it is not on this machine. */
    plaintext_because: text("has to say in a sentence why it may do without TLS").optional(),
    /** A file with a bearer token, read for each request; a PEM file with whom the collector's certificate has to be from. */
    token_file: path(baseDir).optional(),
    ca_file: path(baseDir).optional(),
  })
    .refine(({ jsonl_file, otlp_url }) => (jsonl_file === undefined) !== (otlp_url === undefined), {
      path: ["jsonl_file"],
      error: "or otlp_url: one of the two, and not both, says where the ledger is streamed to",
    })
    .refine(
      ({ otlp_url, plaintext_because }) => {
        if (otlp_url === undefined || plaintext_because !== undefined) return true;
        return isSafe(otlp_url);
      },
      { path: ["otlp_url"], error: "has to be https://, or plaintext_because has to say why it may do without" },
    )
    .transform(
      ({ name, jsonl_file, otlp_url, token_file, ca_file }): SinkConfig =>
        jsonl_file !== undefined
          ? { name, file: jsonl_file }
          : { name, url: new URL(otlp_url as string), tokenFile: token_file, caFile: ca_file },
    );
}

/** The ledger: what becomes of it beside the database. */
export function ledger(baseDir: string) {
  return section({
    /** Where it is kept while the database cannot be written; by default nowhere: then nothing is done. */
    fallback_file: path(baseDir).optional(),
    /** How long entries are kept. */
    retention: duration("1d", "36500d").optional(),
    /** The second place for checkpoints: best where who may write the database may not. By default the data directory. */
    checkpoints_dir: path(baseDir).optional(),
    /** Print each checkpoint as a line of JSON on standard output. */
    checkpoints_to_stdout: z.boolean().optional(),
    /** Witnesses (C2SP tlog-witness) that are given each checkpoint. */
    witnesses: z
      .array(
        z
          .url({ protocol: /^https?$/, error: "has to be the URL of a witness" })
          // What a witness says can stop the server: nobody in between may say it.
          .refine((url) => isSafe(url), "has to be https://, but for one on this machine"),
      )
      .max(8)
      .optional(),
    /** Where it is streamed to as well. */
    streams: z
      .array(sink(baseDir))
      .max(8)
      .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, "have to have different names")
      .optional(),
  });
}
