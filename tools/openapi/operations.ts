import { type DescField, getOption } from "@bufbuild/protobuf";
import { governance } from "../../gen/missioncontrol/v1/governance_pb.ts";
import type { Binding } from "../../src/http/transcoder/routes.ts";
import { commentOf, isRequired, type Json, type Schemas } from "./schemas.ts";

/** What one binding of an RPC is, as an OpenAPI operation. */
export function operation(binding: Binding, operationId: string, schemas: Schemas): Json {
  const { method } = binding;
  const { permission, action } = getOption(method, governance);
  const comment = commentOf(method);
  return {
    tags: [method.parent.name],
    operationId,
    summary: comment.split(/(?<=\.)\s/)[0],
    description: `${comment}\n\nPermission: \`${permission}\`. Action: \`${action}\`. RPC: \`${method.parent.typeName}/${method.name}\`.`,
    parameters: [...pathParameters(binding, schemas), ...queryParameters(binding, schemas), ...headers(binding)],
    ...requestBody(binding, schemas),
    responses: {
      200: {
        description: commentOf(binding.responseBody?.message ?? method.output),
        headers: { "x-request-id": { $ref: "#/components/headers/x-request-id" } },
        content: content(binding, schemas),
      },
      default: { $ref: "#/components/responses/Error" },
    },
  };
}

/** The top-level fields of the request that the path gives. */
function pathFields({ template }: Binding): Set<string> {
  return new Set(template.variables.flatMap(({ fieldPath }) => fieldPath.slice(0, 1)));
}

function pathParameters({ method, template }: Binding, schemas: Schemas): Json[] {
  return template.variables.map(({ fieldPath }) => {
    const field = method.input.fields.find((candidate) => candidate.name === fieldPath[0]);
    if (field === undefined || fieldPath.length > 1)
      throw new Error(`${method}: no field for {${fieldPath.join(".")}}`);
    return { ...parameter(field, "path", schemas), name: field.name, required: true };
  });
}

function queryParameters(binding: Binding, schemas: Schemas): Json[] {
  if (binding.body === "*") return [];
  const elsewhere = pathFields(binding);
  return binding.method.input.fields
    .filter((field) => !elsewhere.has(field.name) && field !== binding.body)
    .map((field) => ({ ...parameter(field, "query", schemas), ...(isRequired(field) && { required: true }) }));
}

function parameter(field: DescField, where: "path" | "query", schemas: Schemas): Json {
  const { description, ...schema } = schemas.field(field);
  return { name: field.jsonName, in: where, description, schema };
}

function headers({ method }: Binding): Json[] {
  const resumable = method.input.fields.some((field) => field.name === "resume_token");
  return [
    { $ref: "#/components/parameters/x-request-id" },
    { $ref: "#/components/parameters/connect-timeout-ms" },
    ...(resumable ? [{ $ref: "#/components/parameters/last-event-id" }] : []),
  ];
}

function requestBody(binding: Binding, schemas: Schemas): Json {
  if (binding.body === undefined) return {};
  const { input } = binding.method;
  const elsewhere = pathFields(binding);
  const fields = input.fields.filter((field) => !elsewhere.has(field.name));
  if (binding.body !== "*") {
    return {
      requestBody: { required: true, content: { "application/json": { schema: schemas.field(binding.body) } } },
    };
  }
  const schema = { ...schemas.object(input, fields), additionalProperties: false };
  // Else "try it out" would fill in every field, one request_id for all tries among them.
  const example = Object.fromEntries(fields.filter(isRequired).map((field) => [field.jsonName, `a ${field.name}`]));
  return { requestBody: { required: true, content: { "application/json": { schema, example } } } };
}

function content({ method, responseBody }: Binding, schemas: Schemas): Json {
  const schema = responseBody ? schemas.field(responseBody) : schemas.message(method.output);
  if (method.methodKind === "unary") return { "application/json": { schema } };
  const description = "One event per message: `event` is its kind, `id` its resume token, `data` the message as JSON.";
  return {
    "application/x-ndjson": { schema },
    "text/event-stream": { schema: { type: "string", description } },
  };
}
