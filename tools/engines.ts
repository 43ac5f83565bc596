import { readFileSync, writeFileSync } from "node:fs";
import { capabilityTable } from "./engines/table.ts";

/**
 * Writes docs/engines.md anew, with the table of what each adapter declares. `node tools/engines.ts [file]`; the file is
 * docs/engines.md by default.
 */
const page = "docs/engines.md";
const [file = page] = process.argv.slice(2);
const begin = "<!-- from here generated: npm run generate -->";
const end = "<!-- up to here generated -->";
const text = readFileSync(page, "utf8");
const [before, rest, ...more] = text.split(begin);
const after = rest?.split(end)[1];
if (after === undefined || more.length > 0)
  throw new Error(`${page} has to have "${begin}" and "${end}" once, in this order`);
writeFileSync(file, `${before}${begin}\n${capabilityTable()}\n${end}${after}`);
