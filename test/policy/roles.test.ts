import { expect, it } from "vitest";
import { defaultRoles, permits, rolesWith } from "../../src/policy/roles.ts";

it("the default roles give what the design says, and no more", () => {
  const may = (role: string) => ({
    read: permits(defaultRoles, [role], "workflows.read") && permits(defaultRoles, [role], "health.read"),
    pause: permits(defaultRoles, [role], "workflows.pause"),
    resume: permits(defaultRoles, [role], "workflows.resume"),
    audit: permits(defaultRoles, [role], "audit.read"),
    approve: permits(defaultRoles, [role], "brakes.approve"),
  });
  expect(may("viewer")).toEqual({ read: true, pause: false, resume: false, audit: false, approve: false });
  expect(may("auditor")).toEqual({ read: true, pause: false, resume: false, audit: true, approve: false });
  expect(may("sre")).toEqual({ read: true, pause: true, resume: true, audit: false, approve: false });
  expect(may("sre_admin")).toEqual({ read: true, pause: true, resume: true, audit: true, approve: true });
  expect(rolesWith(defaultRoles, "workflows.pause")).toEqual(["sre", "sre_admin"]);
});

it("no role, an unknown role, a name of the language and an unknown permission give nothing", () => {
  for (const held of [[], ["admin"], ["constructor"], ["__proto__"], ["SRE"]]) {
    expect(permits(defaultRoles, held, "workflows.read")).toBe(false);
  }
  expect(permits(defaultRoles, ["sre_admin"], "workflows.change")).toBe(false);
  expect(permits(defaultRoles, ["sre_admin"], "")).toBe(false);
});
