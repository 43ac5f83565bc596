import { path, section } from "../section.ts";

/** The ledger: what becomes of it beside the database. */
export function ledger(baseDir: string) {
  return section({
    /** Where it is kept while the database cannot be written; by default nowhere: then nothing is done. */
    fallback_file: path(baseDir).optional(),
  });
}
