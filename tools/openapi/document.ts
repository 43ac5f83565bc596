import type { FileRegistry } from "@bufbuild/protobuf";
import { bindingsOf } from "../../src/http/transcoder/routes.ts";
import { operation } from "./operations.ts";
import { commentOf, type Json, Schemas } from "./schemas.ts";

const status: Json = {
  type: "object",
  description: "google.rpc.Status: why the call failed.",
  properties: {
    code: { type: "integer", format: "int32", description: "The gRPC code, e.g. 7 for PERMISSION_DENIED." },
    message: { type: "string", description: "What was wrong and what to do." },
    details: {
      type: "array",
      description:
        'google.rpc.ErrorInfo with domain "missioncontrol" and a stable reason; google.rpc.BadRequest where fields were wrong.',
      items: {
        type: "object",
        description: "One detail; its other fields are those of its type.",
        properties: { "@type": { type: "string", description: 'E.g. "type.googleapis.com/google.rpc.ErrorInfo".' } },
        required: ["@type"],
      },
    },
  },
  required: ["code", "message"],
};

const probe = (summary: string, responses: Json): Json => ({ tags: ["Probes"], summary, security: [], responses });
const text = (description: string): Json => ({
  description,
  content: { "text/plain": { schema: { type: "string" } } },
});

/** The OpenAPI document of all services in the registry that have REST bindings. */
export function document(registry: FileRegistry, version: string): Json {
  const schemas = new Schemas();
  const paths: Record<string, Record<string, Json>> = {};
  const tags: Json[] = [];
  for (const type of registry) {
    if (type.kind !== "service") continue;
    const bindings = type.methods.flatMap((method) =>
      bindingsOf(method).map((binding, i) => ({ binding, id: i === 0 ? method.name : `${method.name}_${i + 1}` })),
    );
    if (bindings.length === 0) continue;
    tags.push({ name: type.name, description: commentOf(type) });
    for (const { binding, id } of bindings) {
      const verb = binding.httpMethod.toLowerCase();
      paths[binding.path] = { ...paths[binding.path], [verb]: operation(binding, id, schemas) };
    }
  }
  paths["/livez"] = { get: probe("Whether the process is alive.", { 200: text("It is.") }) };
  paths["/readyz"] = {
    get: probe("Whether calls can be served.", {
      200: text("They can."),
      503: text("They cannot: the text says why."),
    }),
  };
  tags.push({ name: "Probes", description: "For load balancers and orchestrators. They need no token." });
  return {
    openapi: "3.1.0",
    info: {
      title: "Mission Control",
      version,
      description: "The brake pedal for AI agents on durable engines: pause, resume, list, inspect, trace.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: [{ bearer: [] }],
    tags,
    paths: Object.fromEntries(Object.entries(paths).sort(([a], [b]) => (a < b ? -1 : 1))),
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT", description: "In dev mode: `npx mctl token`." },
      },
      parameters: {
        "x-request-id": {
          name: "x-request-id",
          in: "header",
          description: "Names the call in the answer, the log and the ledger; a new one is made where it is missing.",
          schema: { type: "string", pattern: "^[A-Za-z0-9._-]{1,128}$" },
        },
        "connect-timeout-ms": {
          name: "connect-timeout-ms",
          in: "header",
          description: "The call's deadline, in ms from now.",
          schema: { type: "integer", minimum: 0 },
        },
        "last-event-id": {
          name: "last-event-id",
          in: "header",
          description: "The last event id that was seen: wins over resumeToken.",
          schema: { type: "string" },
        },
      },
      headers: {
        "x-request-id": { description: "Names the call in the log and the ledger.", schema: { type: "string" } },
      },
      responses: {
        Error: {
          description: "The call failed.",
          headers: { "x-request-id": { $ref: "#/components/headers/x-request-id" } },
          content: { "application/json": { schema: { $ref: "#/components/schemas/google.rpc.Status" } } },
        },
      },
      schemas: Object.fromEntries(
        Object.entries({ ...schemas.components, "google.rpc.Status": status }).sort(([a], [b]) => (a < b ? -1 : 1)),
      ),
    },
  };
}
