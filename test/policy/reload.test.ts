import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import type { EntryInit, Ledger } from "../../src/ledger/ledger.ts";
import { type OpenPolicy, openPolicy } from "../../src/policy/open.ts";
import { PolicyReload } from "../../src/policy/reload.ts";
import { pause } from "./question.ts";

let dir: string;
let policy: OpenPolicy;
let reload: PolicyReload;
let entries: EntryInit[];
let ledgerFault: Error | undefined;
/** One that has not looked yet. */
let anew: () => PolicyReload;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "mc-policies-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  await cp(join(import.meta.dirname, "../../policies"), dir, { recursive: true });
  const log = pino({ level: "silent" });
  policy = await openPolicy({ dir }, log);
  entries = [];
  ledgerFault = undefined;
  const ledger: Pick<Ledger, "append"> = {
    append: async (entry) => {
      if (ledgerFault) throw ledgerFault;
      // What is told is told before it is so.
      expect(entry.message).not.toContain(`policy set ${policy.embedded?.set.hash},`);
      entries.push(entry);
      return { entryId: "e" } as never;
    },
  };
  const { embedded } = policy;
  if (!embedded) throw new Error("there are no embedded policies");
  anew = () => new PolicyReload(embedded, ledger as Ledger, log);
  reload = anew();
  await settle();
});

/** Looks until what is in the folder was read: once to see it, once more to see that it stands still. */
async function settle(): Promise<void> {
  await reload.look();
  await reload.look();
}
const write = (name: string, text: string) => writeFileSync(join(dir, name), text);
const frozen = '@id("never") @message("never again") forbid (principal, action == Action::"runtime.pause", resource);';
const told = () => entries.map(({ action, message }) => ({ action, message }));

test("a folder that has not changed is left alone", async () => {
  await settle();
  expect(entries).toEqual([]);
  expect(reload.state).toMatchObject({ fault: undefined, hash: policy.embedded?.set.hash });
});

test("what was wrong when a server had just started, and the ledger could not be told, is over once the folder is as it was", async () => {
  reload = anew();
  write("never.cedar", "forbid (principal");
  ledgerFault = new Error("the disk is full");
  await settle();
  expect(reload.state.fault).toBeDefined();
  ledgerFault = undefined;
  rmSync(join(dir, "never.cedar"));
  await settle();
  expect(reload.state.fault).toBeUndefined();
});

test("what has changed decides once it stands still, and the ledger has both hashes", async () => {
  const before = reload.state.hash;
  rmSync(join(dir, "control.test.yaml"));
  rmSync(join(dir, "release.test.yaml"));
  write("never.cedar", frozen);
  await reload.look();
  expect(await policy.check(pause)).toMatchObject({ allowed: true, policySetHash: before });
  await reload.look();
  const { hash } = reload.state;
  expect(hash).not.toBe(before);
  expect(await policy.check(pause)).toMatchObject({ allowed: false, message: "never again", policySetHash: hash });
  expect(told()).toEqual([{ action: "policy.reloaded", message: expect.stringContaining(`set ${hash},`) }]);
  expect(entries[0]?.message).toContain(`before it ${before}`);
});

test.each([
  ["does not parse", "never.cedar", "forbid (principal", /never\.cedar/],
  [
    "does not fit the schema",
    "never.cedar",
    '@id("x") forbid (principal, action, resource) when { context.mood };',
    /mood/,
  ],
  ["fails its tests", "never.cedar", frozen, /control\.test\.yaml: an sre pauses, and says why: expected allow/],
  ["has tests that cannot be read", "x.test.yaml", "tests: soon", /x\.test\.yaml/],
  ["has windows that cannot be read", "freezes.yaml", "windows: soon", /freezes\.yaml/],
])("a set that %s changes nothing, and it is said why, once, until it is mended", async (_, file, text, why) => {
  const { hash } = reload.state;
  write(file, text);
  await settle();
  await settle();
  expect(await policy.check(pause)).toMatchObject({ allowed: true, policySetHash: hash });
  expect(reload.state).toMatchObject({ hash, fault: { message: expect.stringMatching(why) } });
  expect(told()).toEqual([{ action: "policy.refused", message: expect.stringMatching(why) }]);
  if (file === "freezes.yaml") write(file, "windows: []");
  else rmSync(join(dir, file));
  await settle();
  expect(reload.state.fault).toBeUndefined();
});

test("a folder that is gone changes nothing", async () => {
  renameSync(dir, `${dir}-away`);
  await settle();
  expect(await policy.check(pause)).toMatchObject({ allowed: true });
  expect(reload.state.fault?.message).toMatch(/ENOENT/);
  renameSync(`${dir}-away`, dir);
  await settle();
  expect(reload.state.fault).toBeUndefined();
});

test("without the ledger nothing is swapped, until it can be written again", async () => {
  const { hash } = reload.state;
  ledgerFault = new Error("the disk is full");
  write("more.cedar", '@id("more") permit (principal, action == Action::"gate.attach", resource);');
  rmSync(join(dir, "gate.test.yaml"));
  await settle();
  expect(reload.state).toMatchObject({ hash, fault: { message: "the disk is full" } });
  ledgerFault = undefined;
  await reload.look();
  expect(reload.state.hash).not.toBe(hash);
  expect(reload.state.fault).toBeUndefined();
  expect(told()).toMatchObject([{ action: "policy.reloaded" }]);
});
