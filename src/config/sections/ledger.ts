import * as z from "zod";
import { duration, path, section } from "../section.ts";

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
      .array(z.url({ protocol: /^https?$/, error: "has to be the URL of a witness" }))
      .max(8)
      .optional(),
  });
}
