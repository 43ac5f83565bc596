import { clearField, clone, type DescMessage, type Message, type MessageShape } from "@bufbuild/protobuf";

const known = new Map<string, boolean>();

/** The message without the fields that its proto marks as secret (debug_redact), at any depth outside of maps. */
export function withoutSecrets<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
): MessageShape<Desc> {
  if (!hasSecrets(schema)) return message;
  const copy = clone(schema, message);
  strip(schema, copy);
  return copy;
}

function hasSecrets(schema: DescMessage): boolean {
  const found = known.get(schema.typeName);
  if (found !== undefined) return found;
  known.set(schema.typeName, false);
  const secret = schema.fields.some((field) => isSecret(field) || (field.message && hasSecrets(field.message)));
  known.set(schema.typeName, secret);
  return secret;
}

function strip(schema: DescMessage, message: Message): void {
  for (const field of schema.fields) {
    if (isSecret(field)) clearField(message, field);
    else if (field.message && field.fieldKind !== "map" && hasSecrets(field.message)) {
      const value = (message as unknown as Record<string, Message | Message[] | undefined>)[field.localName];
      for (const inner of [value ?? []].flat()) strip(field.message, inner);
    }
  }
}

function isSecret({ proto }: DescMessage["fields"][number]): boolean {
  return proto.options?.debugRedact === true;
}

/** What a JSON Web Token or a gate token looks like, whole or cut off. Shorter ones are none, and tell nobody anything. */
const tokens = /eyJ[\w-]{20,}(?:\.[\w-]*){0,2}|mcgt_[\w-]{20,}/g;
const shortest = 23;

/** The text without tokens: what somebody pasted where it does not belong goes no further. */
export function hideTokens(text: string): string {
  return text.length < shortest ? text : text.replace(tokens, "(token)");
}
