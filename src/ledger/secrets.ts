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
