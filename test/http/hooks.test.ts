import { expect, it } from "vitest";
import type { NodeRequest } from "../../src/http/exchange.ts";
import { takeSecret } from "../../src/http/hooks.ts";

const secret = `mcgt_${"Ab3_-".repeat(9)}`;

it.each([
  [`/v1/gates/ai-first/${secret}`, { door: "/v1/gates/ai-first/", secret }],
  [`/v1/gates/ai-first/${secret}?x=1`, { door: "/v1/gates/ai-first/", secret }],
  [`/v1/gates/ai-first/${secret}/more`, { door: "", secret }],
  [`/v1/gates/other/${secret}`, { door: "", secret }],
  [`/v1/${secret}`, undefined],
  [`/v1/x?token=${secret}`, undefined],
  [`/v1/x?token=${secret.replace("_", "%5F")}`, undefined],
])("of %s nothing that comes after sees the token", (url, taken) => {
  const req = { url } as NodeRequest;
  expect(takeSecret(req)).toEqual(taken);
  expect(req.url).not.toContain(secret.slice(5));
});
