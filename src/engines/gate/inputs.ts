import { hideTokens } from "../../proof/secrets.ts";

/** How what workflows and steps were given is kept. */
export interface InputsConfig {
  /**
   * What is left out besides `secretWords`: keys wherever they are ("iban"), and paths of keys from the top ("customer.address", lists
   * not counted). Upper and lower case, "-", "_" and blanks make no difference.
   */
  readonly redact: readonly string[];
  /** Of one input, as JSON, in bytes: what is longer is cut. */
  readonly maxBytes: number;
}

/** Where an entry has inputs kept, and says nothing else. */
export const defaultInputs: InputsConfig = { redact: [], maxBytes: 4096 };

/** The value of a key that contains one of these is never kept, whatever is configured. */
const secretWords = [
  "password",
  "passwd",
  "passphrase",
  "pwd",
  "secret",
  "token",
  "authorization",
  "apikey",
  "accesskey",
  "privatekey",
  "credential",
  "cookie",
  "sessionid",
  "bearer",
  "jwt",
];

/** Objects and lists within one another, counted with those in texts of JSON. */
const maxDepth = 16;
const hidden = "(redacted)";

/**
 * In a text: what stands behind such a word and an equals sign or a colon, as far as its quotes go, or its word; and a password in a
 * URL. A text may be one that was written into another: its quotes have backslashes then.
 */
const assigned =
  /((?:passw(?:or)?d|passphrase|pwd|secret|token|authorization|api[-_ ]?key|access[-_ ]?key|private[-_ ]?key|credentials?|cookie)\\{0,8}["']?\s{0,4}[:=]\s{0,4}(?:(?:bearer|basic)\s{1,4})?)(?:(")(?:[^"\\]|\\.)*|(')(?:[^'\\]|\\.)*|(\\{1,8}")[^"]*|(\\{1,8}')[^']*|[^\s"'&,;}\\]+)/gis;
const inUrl = /(:\/\/[^\s/:@]{0,256}:)[^\s/@]{1,256}(?=@)/g;

/**
 * What is kept of an input: JSON without secrets, cut where it is too long, with a mark that says so. Undefined where nothing was given,
 * or the engine's entry has nothing kept.
 * @param given as it comes from JSON.
 */
export function keptInputs(given: unknown, config: InputsConfig | undefined): string | undefined {
  if (config === undefined || given === undefined || given === null) return undefined;
  const rules = { words: [...secretWords], paths: new Set<string>() };
  for (const rule of config.redact) {
    const path = rule.split(".").map(plain);
    if (path.length === 1) rules.words.push(...path);
    else rules.paths.add(path.join("."));
  }
  const text = JSON.stringify(redacted(given, { rules, path: [], depth: 0 }));
  const bytes = Buffer.from(text);
  if (bytes.length <= config.maxBytes) return text;
  let end = config.maxBytes;
  // No character is cut in two.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return `${bytes.subarray(0, end)}… (cut: ${bytes.length} bytes)`;
}

/** The same for what comes as a text of JSON; of what is none, nothing can be told apart, and nothing is kept. */
export function keptInputsOf(json: string, config: InputsConfig | undefined): string | undefined {
  if (config === undefined || json === "") return undefined;
  const given = parsed(json);
  return given === undefined ? '"(left out: it is no JSON)"' : keptInputs(given, config);
}

interface Place {
  readonly rules: { readonly words: readonly string[]; readonly paths: ReadonlySet<string> };
  readonly path: readonly string[];
  readonly depth: number;
}

function redacted(value: unknown, place: Place): unknown {
  if (typeof value === "string") return redactedText(value, place);
  if (typeof value !== "object" || value === null) return value;
  if (place.depth >= maxDepth) return "(left out: too deep)";
  const within = { ...place, depth: place.depth + 1 };
  if (Array.isArray(value)) {
    // A header as a pair.
    const [key, ...rest] = value;
    if (rest.length === 1 && typeof key === "string" && isSecret(key, place)) return [key, hidden];
    return value.map((one) => redacted(one, within));
  }
  const entries = Object.entries(value);
  // A header or variable that is told by its name: {"name": "Authorization", "value": …}.
  const isNamedSecret = entries.some(
    ([key, name]) => /^(name|key)$/i.test(key) && typeof name === "string" && isSecret(name, place),
  );
  return Object.fromEntries(
    entries.map(([key, inner]) => {
      const path = [...place.path, plain(key)];
      // How many: "max_tokens": 4096.
      const isCount = typeof inner === "number" && plain(key).endsWith("tokens");
      const isHidden =
        (isSecret(key, place) && !isCount) ||
        place.rules.paths.has(path.join(".")) ||
        (isNamedSecret && /^value$/i.test(key));
      return [redactedWords(key), isHidden ? hidden : redacted(inner, { ...within, path })];
    }),
  );
}

function redactedText(text: string, place: Place): string {
  const inner = /^\s*[[{]/.test(text) ? parsed(text) : undefined;
  return inner === undefined ? redactedWords(text) : JSON.stringify(redacted(inner, place));
}

function redactedWords(text: string): string {
  return hideTokens(text).replace(assigned, `$1$2$3$4$5${hidden}`).replace(inUrl, `$1${hidden}`);
}

function isSecret(key: string, { rules }: Place): boolean {
  const name = plain(key);
  return rules.words.some((word) => name.includes(word));
}

/** As keys are compared. */
function plain(key: string): string {
  return key
    .normalize("NFKC")
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]/gu, "");
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    return undefined;
  }
}
