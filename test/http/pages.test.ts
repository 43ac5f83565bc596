import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Fixture, startPort } from "./fixture.ts";

let f: Fixture;
let state: true | string[] = true;
beforeAll(async () => {
  f = await startPort({ ready: () => state });
});
afterAll(() => f.port.close(0));

describe("the pages without a token", () => {
  it("tell that the process is alive", async () => {
    const response = await fetch(`${f.url}/livez`);
    expect([response.status, await response.text()]).toEqual([200, "alive\n"]);
  });

  it("tell whether calls can be served, and why not", async () => {
    expect(await (await fetch(`${f.url}/readyz`)).text()).toBe("ready\n");
    state = ["engine/restate does not answer", "the ledger cannot be written"];
    const response = await fetch(`${f.url}/readyz`);
    state = true;
    expect(response.status).toBe(503);
    expect(await response.text()).toBe("not ready: engine/restate does not answer; the ledger cannot be written\n");
  });

  it("lead from / to the documentation", async () => {
    for (const path of ["/", "/docs/"]) {
      const response = await fetch(f.url + path, { redirect: "manual" });
      expect([response.status, response.headers.get("location")]).toEqual([302, "/docs"]);
    }
  });

  it("give the API's description as it was generated", async () => {
    const response = await fetch(`${f.url}/openapi.json`);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(await response.json()).toEqual(JSON.parse(await readFile("gen/openapi.json", "utf8")));
  });

  it("give a documentation page whose every asset is here", async () => {
    const response = await fetch(`${f.url}/docs`);
    const html = await response.text();
    expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
    const assets = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((found) => found[1] ?? "");
    expect(assets).toHaveLength(4);
    for (const asset of assets) {
      expect(asset).toMatch(/^\/docs\//);
      const got = await fetch(f.url + asset);
      expect(got.status).toBe(200);
      expect((await got.arrayBuffer()).byteLength).toBeGreaterThan(100);
    }
  });

  it("allow that page nothing from elsewhere, and no inline script", async () => {
    const response = await fetch(`${f.url}/docs`);
    const policy = response.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).toContain("connect-src 'self'");
    expect(policy).not.toMatch(/https?:|\*|unsafe/);
    expect(await response.text()).not.toMatch(/<script>|\son\w+="|style=|https?:/);
    const start = await (await fetch(`${f.url}/docs/start.js`)).text();
    expect(start).toContain("persistAuthorization: true");
    expect(start).toContain("validatorUrl: null");
    expect(start).not.toMatch(/https?:/);
  });

  it("are not sent again to who has them", async () => {
    const first = await fetch(`${f.url}/docs/swagger-ui.css`);
    const etag = first.headers.get("etag") ?? "";
    await first.arrayBuffer();
    const second = await fetch(`${f.url}/docs/swagger-ui.css`, { headers: { "if-none-match": etag } });
    expect([second.status, await second.text()]).toEqual([304, ""]);
  });

  it("answer GET, HEAD and OPTIONS only", async () => {
    const head = await fetch(`${f.url}/livez`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "6", ""]);
    expect((await fetch(`${f.url}/livez`, { method: "OPTIONS" })).status).toBe(204);
    const post = await fetch(`${f.url}/livez`, { method: "POST" });
    expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD, OPTIONS"]);
  });

  it("are these, and no other", async () => {
    for (const path of [
      "/docs/nothing",
      "/docs/../package.json",
      "/docs/%2e%2e/package.json",
      "/livez/",
      "/constructor",
      "/metrics",
    ]) {
      expect((await fetch(f.url + path)).status).toBe(401);
    }
    expect(f.chained).toEqual([]);
  });
});
