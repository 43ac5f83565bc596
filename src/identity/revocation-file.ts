import { open } from "node:fs/promises";
import { parse } from "yaml";
import * as z from "zod";

const limits = { bytes: 1024 * 1024, entries: 10_000 } as const;

const name = z.string().regex(/^[^\p{C}]{1,512}$/u, "has to be a text of 1 to 512 printable characters");
const file = z.strictObject({
  revocations: z
    .array(
      z
        .strictObject({
          issuer: name,
          token_id: name.optional(),
          subject: name.optional(),
          issued_before: z.iso
            .datetime({ offset: true, error: "has to be a time like 2026-11-22T08:30:00Z" })
            .transform((text) => Date.parse(text))
            .optional(),
          reason: name,
        })
        .refine(({ token_id, subject }) => (token_id === undefined) !== (subject === undefined), {
          error: "has to name either token_id or subject",
        })
        .refine(({ subject, issued_before }) => (subject === undefined) === (issued_before === undefined), {
          error: "has to say issued_before for a subject, and for nothing else",
        }),
    )
    .max(limits.entries),
});

/** A revocation as the file has it. */
export type FileRevocation = z.output<typeof file>["revocations"][number];

/**
 * Reads a revocation file: YAML, and so JSON as well. Rejects with an Error that names the file and the first thing that is wrong
 * with it; nothing of a file that is wrong is used.
 */
export async function readRevocationFile(path: string): Promise<FileRevocation[]> {
  let content: unknown;
  try {
    content = parse(await readText(path), { maxAliasCount: 0 }) ?? { revocations: [] };
  } catch (error) {
    throw new Error(
      `the revocation file ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  const result = file.safeParse(content);
  if (result.success) return result.data.revocations;
  const [issue] = result.error.issues;
  throw new Error(`the revocation file ${path}: ${issue?.path.join(".") || "it"}: ${issue?.message}`);
}

async function readText(path: string): Promise<string> {
  const handle = await open(path, "r");
  try {
    const { size } = await handle.stat();
    if (size > limits.bytes) throw new Error(`it is larger than ${limits.bytes / 1024} KiB`);
    return await handle.readFile("utf8");
  } finally {
    await handle.close();
  }
}
