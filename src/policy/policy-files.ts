import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { type DetailedError, policySetTextToParts, policyToJson, validate } from "@cedar-policy/cedar-wasm/nodejs";
import { type Freeze, freezesFile } from "./freezes.ts";
import { readYaml } from "./yaml.ts";

const maxFiles = 256;
const maxFileBytes = 1024 * 1024;
const schemaFile = "schema.cedarschema";
const freezes = "freezes.yaml";

/** The policies of a folder, checked against their schema. */
export interface PolicySet {
  readonly dir: string;
  readonly schema: string;
  /** @id → the policy's text. */
  readonly policies: Readonly<Record<string, string>>;
  /** @id → @message, where it has one. */
  readonly messages: ReadonlyMap<string, string>;
  /** True where one of them names a workflow by its id: all others cannot tell two apart that look the same. */
  readonly namesWorkflows: boolean;
  /** Windows of time that policies can speak about. */
  readonly freezes: readonly Freeze[];
  /** SHA-256 over the files' names and contents in the order of their names, in hex. */
  readonly hash: string;
}

/**
 * Reads `*.cedar`, `schema.cedarschema` and, where there is one, `freezes.yaml` of a folder. Every policy carries an @id,
 * unique in the folder, and fits the schema. Throws an Error that names all faults, each with its file and line or policy.
 */
export async function readPolicies(dir: string): Promise<PolicySet> {
  const { hash, texts } = await readTexts(dir);

  const faults: string[] = [];
  const policies: Record<string, string> = {};
  const messages = new Map<string, string>();
  let namesWorkflows = false;
  const fileOf = new Map<string, string>();
  for (const [file, source] of texts) {
    if (!isPolicies(file)) continue;
    for (const { id, text, message, namesWorkflow } of parts(source, file, faults)) {
      namesWorkflows ||= namesWorkflow;
      if (fileOf.has(id)) faults.push(`${file}: the @id "${id}" is also in ${fileOf.get(id)}`);
      fileOf.set(id, file);
      policies[id] = text;
      if (message !== undefined) messages.set(id, message);
    }
  }
  const schema = texts.get(schemaFile) ?? "";
  const frozen = texts.get(freezes);
  const windows = frozen === undefined ? [] : readYaml(freezesFile, frozen, freezes, faults)?.windows;
  if (faults.length === 0) faults.push(...schemaFaults(schema, policies, fileOf));
  if (faults.length > 0) throw new Error(`policies in ${dir} cannot be used:\n  ${faults.join("\n  ")}`);
  return { dir, schema, policies, messages, namesWorkflows, freezes: windows ?? [], hash };
}

/** The hash that the folder's policies have, whether they can be used or not. */
export async function policiesHash(dir: string): Promise<string> {
  return (await readTexts(dir)).hash;
}

/** The files that policies are made of, in the order of their names, the schema and the freezes last. */
async function readTexts(dir: string): Promise<{ hash: string; texts: ReadonlyMap<string, string> }> {
  const all = await readdir(dir);
  const files = all.filter(isPolicies).sort();
  if (files.length === 0)
    throw new Error(`policies: there is no .cedar file in ${dir}: nobody would be allowed anything`);
  if (files.length > maxFiles) throw new Error(`policies: there are more than ${maxFiles} .cedar files in ${dir}`);
  const hash = createHash("sha256");
  const texts = new Map<string, string>();
  for (const file of [...files, schemaFile, ...(all.includes(freezes) ? [freezes] : [])]) {
    const text = await readPolicyFile(dir, file);
    hash.update(`${file}\0${Buffer.byteLength(text)}\0${text}`);
    texts.set(file, text);
  }
  return { hash: hash.digest("hex"), texts };
}

function isPolicies(file: string): boolean {
  return file.endsWith(".cedar");
}

/** The text of one file of the folder, within bounds. */
export async function readPolicyFile(dir: string, file: string): Promise<string> {
  const { size } = await stat(join(dir, file));
  if (size > maxFileBytes) throw new Error(`policies: ${file} is larger than ${maxFileBytes} bytes`);
  return readFile(join(dir, file), "utf8");
}

function parts(
  text: string,
  file: string,
  faults: string[],
): { id: string; text: string; message: string | undefined; namesWorkflow: boolean }[] {
  const answer = policySetTextToParts(text);
  if (answer.type === "failure") {
    faults.push(...answer.errors.map((error) => `${file}:${line(text, error)}: ${told(error)}`));
    return [];
  }
  if (answer.policy_templates.length > 0) faults.push(`${file}: templates (?principal, ?resource) are not supported`);
  return answer.policies.flatMap((policy) => {
    const json = policyToJson(policy);
    const annotations = json.type === "success" ? json.json.annotations : undefined;
    const id = annotations?.id;
    if (id === undefined || id === "") {
      faults.push(`${file}: a policy has no @id("…"): ${policy.slice(0, 80)}`);
      return [];
    }
    // How Cedar's JSON writes the literal Workflow::"…", wherever it stands.
    const namesWorkflow = json.type === "failure" || JSON.stringify(json.json).includes('"type":"Workflow"');
    return [{ id, text: policy, message: annotations?.message, namesWorkflow }];
  });
}

function schemaFaults(schema: string, policies: Record<string, string>, fileOf: ReadonlyMap<string, string>): string[] {
  const answer = validate({ schema, policies: { staticPolicies: policies } });
  if (answer.type === "failure")
    return answer.errors.map((error) => `${schemaFile}:${line(schema, error)}: ${told(error)}`);
  return answer.validationErrors.map(({ policyId, error }) => `${fileOf.get(policyId)}: ${told(error)}`);
}

function line(text: string, error: DetailedError): number {
  const start = error.sourceLocations?.[0]?.start ?? 0;
  return Buffer.from(text).subarray(0, start).toString().split("\n").length;
}

function told(error: DetailedError): string {
  return error.help === null ? error.message : `${error.message} (${error.help})`;
}
