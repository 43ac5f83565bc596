import { expect, test } from "vitest";
import type { Principal } from "../../src/identity/principal.ts";
import { Access } from "../../src/policy/access.ts";
import { defaultRoles, type Roles } from "../../src/policy/roles.ts";

const person = (roles: string[], tenant?: string): Principal => ({
  issuer: "issuer",
  subject: "alice",
  roles,
  tenant,
  tokenId: "t",
  issueTime: 0,
  expireTime: 0,
  authenticationMethod: "jwt",
});

const roles: Roles = {
  looks: { permissions: ["workflows.read"] },
  pay_sre: { permissions: ["workflows.read", "workflows.pause"], scope: { types: ["Pay"] } },
  own: { permissions: ["workflows.read"], scope: { tenant: "own" } },
  two: { permissions: ["workflows.read"], scope: { tenant: ["acme", "globex"], labels: ["risk=low"] } },
};
const access = new Access(roles, { tenantLabel: "customer" });
const pay = { type: "Pay", labels: {} };
const mail = { type: "Mail", labels: {} };

test("permission and scope come from the same role: to see all and to pause some is not to pause all", () => {
  const alice = person(["looks", "pay_sre"]);
  expect(access.reach(alice, "workflows.read")?.isLimited).toBe(false);
  expect(access.reach(alice, "workflows.pause")?.admits("restate", pay)).toBe(true);
  expect(access.reach(alice, "workflows.pause")?.admits("restate", mail)).toBe(false);
});

test("roles that are not there, and names of the language, give nothing", () => {
  expect(access.reach(person(["nobody", "constructor", "__proto__"]), "workflows.read")).toBeUndefined();
  expect(access.reach(person(["looks"]), "workflows.pause")).toBeUndefined();
});

test("tenant: own is the tenant of the token, by the configured label; without one the role gives nothing", () => {
  const reach = access.reach(person(["own"], "acme"), "workflows.read");
  expect(reach?.admits("restate", { type: "Pay", labels: { customer: "acme" } })).toBe(true);
  expect(reach?.admits("restate", { type: "Pay", labels: { customer: "globex" } })).toBe(false);
  expect(reach?.admits("restate", { type: "Pay", labels: { tenant: "acme" } })).toBe(false);
  expect(access.reach(person(["own"]), "workflows.read")).toBeUndefined();
  expect(access.reach(person(["own", "pay_sre"]), "workflows.read")?.admits("restate", pay)).toBe(true);
});

test("several tenants: any of them, together with the other labels", () => {
  const reach = access.reach(person(["two"]), "workflows.read");
  const of = (customer: string, risk: string) => ({ type: "Pay", labels: { customer, risk } });
  expect(reach?.admits("restate", of("acme", "low"))).toBe(true);
  expect(reach?.admits("restate", of("globex", "low"))).toBe(true);
  expect(reach?.admits("restate", of("globex", "high"))).toBe(false);
  expect(reach?.admits("restate", of("initech", "low"))).toBe(false);
});

test("the default roles have no scope", () => {
  const all = new Access(defaultRoles);
  expect(all.reach(person(["sre"]), "workflows.pause")?.isLimited).toBe(false);
});

test.each<[string, unknown, string]>([
  ["an unknown permission", { permissions: ["workflows.change"] }, 'there is no permission "workflows.change"'],
  ["an empty list", { permissions: [], scope: { types: [] } }, "roles.r.scope.types: is empty"],
  ["a label without a value", { permissions: [], scope: { labels: ["risk"] } }, '"risk" is no label'],
  ["two values of one label", { permissions: [], scope: { labels: ["a=1", "a=2"] } }, "two values of one label"],
  ["an engine that is not there", { permissions: [], scope: { engines: ["x"] } }, 'there is no engine "x"'],
])("%s is refused at start", (_, role, message) => {
  expect(() => new Access({ r: role } as Roles, { engines: ["restate"] })).toThrow(message);
});
