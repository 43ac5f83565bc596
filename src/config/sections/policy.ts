import { path, section } from "../section.ts";

/** What policies decide by. */
export function policy(baseDir: string) {
  return section({
    /** The folder with *.cedar and the schema; by default those that come with Mission Control. */
    dir: path(baseDir).optional(),
  });
}
