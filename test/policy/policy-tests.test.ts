import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { loadPolicies, testPolicies } from "../../src/policy/policy-tests.ts";

const shipped = join(import.meta.dirname, "../../policies");

/** The shipped policies with these tests in place of theirs. */
async function folder(tests: string): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "mc-policies-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  await cp(shipped, dir, { recursive: true, filter: (file) => !file.endsWith(".test.yaml") });
  writeFileSync(join(dir, "mine.test.yaml"), tests);
  return dir;
}
const faultOf = async (one: string) => {
  const { results } = await testPolicies(await folder(`tests:\n  - { name: mine, ${one} }\n`));
  return results.map(({ fault }) => fault).join();
};

test("every policy that comes along forbids in one of its tests, or permits, and all tests pass", async () => {
  const { set, results } = await testPolicies(shipped);
  expect(results.filter(({ fault }) => fault !== "")).toEqual([]);
  for (const id of Object.keys(set.policies)) {
    const without = Object.fromEntries(Object.entries(set.policies).filter(([one]) => one !== id));
    const dir = mkdtempSync(join(tmpdir(), "mc-policies-"));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    await cp(shipped, dir, { recursive: true, filter: (file) => !file.endsWith(".cedar") });
    writeFileSync(join(dir, "all.cedar"), Object.values(without).join("\n"));
    const { results: less } = await testPolicies(dir);
    expect(less.filter(({ fault }) => fault !== "").length, `nobody would notice that ${id} is gone`).toBeGreaterThan(
      0,
    );
  }
});

test.each([
  ["action: runtime.get, workflow: {}, expect: allow", ""],
  ["action: runtime.get, workflow: {}, expect: deny", "expected deny, and it is allow, by read"],
  ["action: runtime.pause, workflow: {}, expect: allow", "expected allow, and it is deny, by control-needs-a-reason"],
  [
    "action: runtime.pause, workflow: {}, expect: deny, policies: [frozen]",
    "deny as expected, but by control-needs-a-reason and not by frozen",
  ],
  ["action: gate.attach, expect: allow, policies: []", "allow as expected, but by gate and not by no policy"],
])("a test of { %s } says: %s", async (one, fault) => expect(await faultOf(one)).toBe(fault));

test("the time of a test is that of its windows", async () => {
  const dir = await folder(`tests:
  - { name: in, action: runtime.resume, workflow: {}, reason: x, time: 2026-12-24T00:00:00Z, expect: deny, policies: [frozen] }
  - { name: out, action: runtime.resume, workflow: {}, reason: x, time: 2026-12-26T00:00:00Z, expect: allow }
`);
  const windows = "windows:\n  - { name: xmas, from: 2026-12-24T00:00:00Z, until: 2026-12-26T00:00:00Z }\n";
  writeFileSync(join(dir, "freezes.yaml"), windows);
  expect((await testPolicies(dir)).results.map(({ fault }) => fault)).toEqual(["", ""]);
});

test("policies that fail a test are not for use, and it is said which", async () => {
  const dir = await folder("tests:\n  - { name: all may pause, action: runtime.pause, workflow: {}, expect: allow }\n");
  await expect(loadPolicies(dir)).rejects.toThrow(/mine\.test\.yaml: all may pause: expected allow, and it is deny/);
});

test("a test that cannot be read is told with file, line and key", async () => {
  const dir = await folder("tests:\n  - name: x\n    action: runtime.get\n    expects: allow\n");
  await expect(testPolicies(dir)).rejects.toThrow(/mine\.test\.yaml:\d: tests\.0.*(expects|expect)/);
});
