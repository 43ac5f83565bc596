import { describe, expect, it } from "vitest";
import { compareTemplates, matchTemplate, parseTemplate } from "../../../src/http/transcoder/template.ts";

/** The variables by dotted name, or undefined where the template does not fit. */
function match(template: string, path: string, verb?: string): Record<string, string> | undefined {
  const found = matchTemplate(parseTemplate(template), path.slice(1).split("/"), verb);
  return found && Object.fromEntries([...found].map(([fieldPath, value]) => [fieldPath.join("."), value]));
}

describe("a template", () => {
  it("fits literals exactly", () => {
    expect(match("/v1/workflows", "/v1/workflows")).toEqual({});
    expect(match("/v1/workflows", "/v1/Workflows")).toBeUndefined();
    expect(match("/v1/workflows", "/v1/workflows/")).toBeUndefined();
    expect(match("/v1/workflows", "/v1")).toBeUndefined();
  });

  it("captures one segment, fully decoded", () => {
    expect(match("/v1/{id}", "/v1/a%2Fb%20c%25")).toEqual({ id: "a/b c%" });
    expect(match("/v1/{id}", "/v1/restate:inv_1")).toEqual({ id: "restate:inv_1" });
    expect(match("/v1/{id}", "/v1/a/b")).toBeUndefined();
    expect(match("/v1/{id}", "/v1/%E2%82%AC")).toEqual({ id: "€" });
  });

  it("captures no empty segment", () => {
    expect(match("/v1/{id}", "/v1/")).toBeUndefined();
    expect(match("/v1/{id}/trace", "/v1//trace")).toBeUndefined();
  });

  it("captures many segments, and leaves an escaped slash in them escaped", () => {
    expect(match("/v1/{name=shelves/*/books/*}", "/v1/shelves/1/books/a%2Fb%20c")).toEqual({
      name: "shelves/1/books/a%2Fb c",
    });
    expect(match("/v1/{name=**}", "/v1/a/b/c%2f")).toEqual({ name: "a/b/c%2f" });
    expect(match("/v1/{name=files/**}", "/v1/files")).toEqual({ name: "files" });
    expect(match("/v1/{name=files/**}", "/v1/other/x")).toBeUndefined();
  });

  it("leads to a field within a field", () => {
    expect(match("/v1/{workflow.id}", "/v1/7")).toEqual({ "workflow.id": "7" });
  });

  it("fits with its verb only", () => {
    expect(match("/v1/{id}:pause", "/v1/7", "pause")).toEqual({ id: "7" });
    expect(match("/v1/{id}:pause", "/v1/7")).toBeUndefined();
    expect(match("/v1/{id}", "/v1/7", "pause")).toBeUndefined();
  });

  it.each(["/v1/%", "/v1/%zz", "/v1/%C3", "/v1/%ff"])("refuses %s, which is not well escaped", (path) => {
    expect(() => match("/v1/{id}", path)).toThrow(expect.objectContaining({ reason: "INVALID_ARGUMENT" }));
  });

  it.each(["v1", "/v1/{id", "/v1/a b", "/v1/**/x", "/v1//x"])("is refused as a defect of the proto: %s", (template) => {
    expect(() => parseTemplate(template)).toThrow(template);
  });

  it("comes the earlier the more literal it is: literals before * before **", () => {
    const templates = ["/v1/**", "/v1/{a}/{b}", "/v1/{a}/x", "/v1/x/{b}", "/v1/x/y", "/v1/{a}"];
    const sorted = templates.toSorted((a, b) => compareTemplates(parseTemplate(a), parseTemplate(b)));
    expect(sorted).toEqual(["/v1/x/y", "/v1/x/{b}", "/v1/{a}/x", "/v1/{a}/{b}", "/v1/{a}", "/v1/**"]);
  });
});
