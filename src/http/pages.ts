import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import openApi from "../../gen/openapi.json" with { type: "json" };
import { type Answer, answerOf } from "./answer.ts";
import type { NodeRequest } from "./exchange.ts";

/** The pages that need no token: liveness, readiness, the API's description and its documentation. */
export interface Pages {
  has(path: string): boolean;
  serve(path: string, req: NodeRequest): Answer;
}

const title = "Mission Control API";
const documentation = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`;
// validatorUrl: null, else the page would send the description to a third party.
const start = `window.onload = () => {
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    persistAuthorization: true,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
  });
};
`;
// Nothing from elsewhere, and nothing inline; the images of the page's style sheet are data: URLs.
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** Reads what is served from files once: the description of the API, and the documentation page's assets. */
export async function loadPages(ready: () => true | readonly string[]): Promise<Pages> {
  const require = createRequire(import.meta.url);
  const asset = (name: string) => readFile(require.resolve(`swagger-ui-dist/${name}`));
  const files: Record<string, (req: NodeRequest) => Answer> = {
    "/docs": fileOf("text/html; charset=utf-8", documentation),
    "/docs/start.js": fileOf("text/javascript; charset=utf-8", start),
    "/docs/swagger-ui.css": fileOf("text/css; charset=utf-8", await asset("swagger-ui.css")),
    "/docs/swagger-ui-bundle.js": fileOf("text/javascript; charset=utf-8", await asset("swagger-ui-bundle.js")),
    "/docs/favicon-32x32.png": fileOf("image/png", await asset("favicon-32x32.png")),
    "/openapi.json": fileOf("application/json", JSON.stringify(openApi)),
    "/livez": () => answerOf(200, "text/plain; charset=utf-8", "alive\n"),
    "/readyz": () => readiness(ready()),
    "/": () => redirect("/docs"),
    "/docs/": () => redirect("/docs"),
  };
  return {
    has: (path) => Object.hasOwn(files, path),
    serve(path, req) {
      if (req.method !== "GET" && req.method !== "HEAD") {
        const status = req.method === "OPTIONS" ? 204 : 405;
        return { status, headers: new Headers({ allow: "GET, HEAD, OPTIONS" }) };
      }
      return files[path]?.(req) ?? redirect("/docs");
    },
  };
}

function readiness(state: true | readonly string[]): Answer {
  return state === true
    ? answerOf(200, "text/plain; charset=utf-8", "ready\n")
    : answerOf(503, "text/plain; charset=utf-8", `not ready: ${state.join("; ")}\n`);
}

function redirect(location: string): Answer {
  return answerOf(302, "text/plain; charset=utf-8", `see ${location}\n`, { location });
}

/** A file from memory; a browser that has it asks whether it is still the same. */
function fileOf(contentType: string, content: string | Uint8Array): (req: NodeRequest) => Answer {
  const body = Buffer.from(content);
  const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
  return (req) => {
    const headers = new Headers({
      "content-type": contentType,
      "cache-control": "no-cache",
      etag,
      "content-security-policy": contentSecurityPolicy,
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
    });
    if (req.headers["if-none-match"] === etag) return { status: 304, headers };
    return { status: 200, headers, body };
  };
}
