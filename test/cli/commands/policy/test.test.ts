import { writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { mctl, temporaryFolder } from "../../run.ts";

const shipped = join(import.meta.dirname, "../../../../policies");

test("the policies that come along pass, without a server", async () => {
  const { code, stdout } = await mctl(["policy", "test", shipped]);
  expect(stdout).toMatch(/^\d+ policies, (\d+) of \1 tests pass; set [0-9a-f]{64}\n$/);
  expect(code).toBe(0);
});

test("a test that fails is told, with what was decided and by which policy; so is a policy that cannot be used", async () => {
  const cwd = temporaryFolder();
  await cp(shipped, join(cwd, "policies"), { recursive: true });
  const mine = join(cwd, "policies/mine.test.yaml");
  writeFileSync(mine, "tests:\n  - { name: no why, action: runtime.pause, workflow: {}, expect: allow }\n");
  const failed = await mctl(["policy", "test"], { cwd });
  expect(failed.code).toBe(1);
  expect(failed.stdout).toContain(
    "mine.test.yaml: no why\n  expected allow, and it is deny, by control-needs-a-reason\n",
  );
  const json = JSON.parse((await mctl(["policy", "test", "-o", "json"], { cwd })).stdout);
  expect(json.tests.filter(({ passed }: { passed: boolean }) => !passed)).toMatchObject([{ name: "no why" }]);
  writeFileSync(join(cwd, "policies/mine.cedar"), "permit (principal, action, resorce);");
  const broken = await mctl(["policy", "test"], { cwd });
  expect(broken.code).toBe(1);
  expect(broken.stderr).toMatch(/mine\.cedar:1: .*resorce/);
});
