import { describe, expect, it } from "vitest";
import { Metrics } from "../../gen/missioncontrol/metrics/v1/metrics_pb.ts";
import { Access } from "../../gen/missioncontrol/v1/access_pb.ts";
import { AuditLog } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Brakes } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { GateTokens } from "../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { Revocations } from "../../gen/missioncontrol/v1/revocations_pb.ts";
import document from "../../gen/openapi.json" with { type: "json" };
import { bindingsOf } from "../../src/http/transcoder/routes.ts";

type Json = { [name: string]: unknown };

/** Every object in the document, with the path to it. */
function* objects(value: unknown, path = "#"): Generator<[string, Json]> {
  if (typeof value !== "object" || value === null) return;
  if (!Array.isArray(value)) yield [path, value as Json];
  for (const [name, inner] of Object.entries(value)) {
    yield* objects(inner, `${path}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`);
  }
}

const all = new Map(objects(document));
const paths = document.paths as Record<string, Record<string, Json>>;

describe("the OpenAPI description", () => {
  it("is OpenAPI 3.1 with a bearer token for all but the probes", () => {
    expect(document.openapi).toMatch(/^3\.1\./);
    expect(document.security).toEqual([{ bearer: [] }]);
    expect(document.components.securitySchemes.bearer).toMatchObject({ type: "http", scheme: "bearer" });
    const open = Object.entries(paths).filter(([, operations]) =>
      Object.values(operations).some((each) => each.security),
    );
    expect(open.map(([path]) => path)).toEqual(["/livez", "/readyz"]);
  });

  it("has every binding of every RPC", () => {
    const services = [MissionControl, Brakes, AuditLog, GateTokens, Revocations, Access, Metrics];
    const bindings = services.flatMap((service) => service.methods).flatMap(bindingsOf);
    expect(bindings.length).toBeGreaterThan(8);
    for (const { httpMethod, path, method } of bindings) {
      expect(paths[path]?.[httpMethod.toLowerCase()]?.operationId, path).toContain(method.name);
    }
    const pages = ["/livez", "/readyz"];
    expect(Object.keys(paths).sort()).toEqual([...new Set([...bindings.map(({ path }) => path), ...pages])].sort());
  });

  it("names each operation once", () => {
    const ids = [...all.values()].map((each) => each.operationId).filter((id) => id !== undefined);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("refers to nothing that is not there", () => {
    const references = [...all.values()].map((each) => each.$ref).filter((ref) => typeof ref === "string");
    expect(references.length).toBeGreaterThan(30);
    for (const reference of references) expect(all.has(reference), reference).toBe(true);
  });

  it("describes every field, parameter, operation, schema and response", () => {
    const silent = [...all].filter(([path, object]) => {
      if (typeof object.$ref === "string" && !/\/properties\/[^/]+$/.test(path)) return false;
      const told = typeof object.description === "string" && object.description !== "";
      const wanted =
        /\/properties\/[^/]+$/.test(path) ||
        /\/parameters\/[^/]+$/.test(path) ||
        /\/schemas\/[^/]+$/.test(path) ||
        /\/responses\/[^/]+$/.test(path) ||
        typeof object.operationId === "string";
      return wanted && !told;
    });
    expect(silent.map(([path]) => path)).toEqual([]);
  });

  it("has the path's variables as parameters, and nowhere else", () => {
    for (const [path, operations] of Object.entries(paths)) {
      const variables = [...path.matchAll(/\{(\w+)\}/g)].map((found) => found[1]);
      for (const operation of Object.values(operations)) {
        const parameters = (operation.parameters ?? []) as Json[];
        expect(parameters.filter((each) => each.in === "path").map((each) => each.name)).toEqual(variables);
        const body = JSON.stringify(operation.requestBody ?? {});
        for (const variable of variables) expect(body).not.toContain(`"${variable}"`);
      }
    }
  });

  it("has the bounds of the protos", () => {
    const pause = paths["/v1/workflows/{workflow_id}/pause"]?.post as {
      requestBody: {
        content: { "application/json": { schema: { required: string[]; properties: Record<string, Json> } } };
      };
    };
    const { required, properties } = pause.requestBody.content["application/json"].schema;
    expect(required).toEqual(["reason"]);
    expect(properties.reason).toMatchObject({ minLength: 1, maxLength: 1024, pattern: "\\S" });
    expect(properties.requestId).toMatchObject({ format: "uuid" });
    expect(properties.workflowId).toBeUndefined();
    const list = paths["/v1/workflows"]?.get?.parameters as Json[];
    expect(list.find((each) => each.name === "pageSize")?.schema).toMatchObject({ minimum: 0, maximum: 500 });
    expect(list.find((each) => each.name === "status")?.schema).toMatchObject({ type: "array", maxItems: 16 });
  });

  it("tells what an event stream is", () => {
    const events = paths["/v1/events"]?.get as { responses: { 200: { content: Json } }; parameters: Json[] };
    expect(Object.keys(events.responses[200].content)).toEqual(["application/x-ndjson", "text/event-stream"]);
    expect(events.parameters).toContainEqual({ $ref: "#/components/parameters/last-event-id" });
  });
});
