import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect, it, onTestFinished } from "vitest";
import { SelectorSchema } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { Brakes } from "../../src/brakes/brakes.ts";
import { Catching } from "../../src/brakes/catch.ts";
import { defaultFleetRules, FleetCommands } from "../../src/brakes/fleet.ts";
import { Gates } from "../../src/brakes/gates.ts";
import { Outages } from "../../src/brakes/outages.ts";
import type { Engine, EngineWorkflow } from "../../src/engines/engine.ts";
import { EngineRegistry } from "../../src/engines/registry.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import { Reach } from "../../src/policy/reach.ts";
import { openSqlite } from "../../src/store/sqlite.ts";

const workflow: EngineWorkflow = {
  ...{ id: "one", type: "RefundAgent", name: "", status: "paused", phase: "paused", labels: {}, parentId: undefined },
  ...{ createTime: new Date(), startTime: new Date(), updateTime: new Date(), endTime: undefined, dueTime: undefined },
  errorMessage: "",
};

it("engines are asked at the same time who had paused what is to be caught: one that is slow keeps a brake from no other", async () => {
  const dir = mkdtempSync(join(tmpdir(), "mc-fleet-"));
  const store = openSqlite(join(dir, "ledger.db"));
  onTestFinished(async () => {
    await store.close();
    rmSync(dir, { recursive: true });
  });
  const brakes = await Brakes.open(store, createLedger(store, createLog("silent")));
  const names = ["a", "b"];
  // Each answers once the other was asked as well.
  const all = Promise.withResolvers<Set<string>>();
  let asked = 0;
  const engineOf = (name: string): Partial<Engine> => ({
    name,
    open: async () => [workflow],
    pausedByGate: (_, signal) => {
      if (++asked === names.length) all.resolve(new Set());
      const late = new Promise<never>((_, reject) => {
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
      return Promise.race([all.promise, late]);
    },
  });
  const engines = new EngineRegistry(names.map((name) => engineOf(name) as Engine));
  const catching = new Catching(brakes);
  const gates = new Gates({ engines: names, log: createLog("silent") });
  const outages = new Outages(names, catching);
  const commands = new FleetCommands(brakes, engines, catching, gates, outages, defaultFleetRules);
  const selector = create(SelectorSchema, { types: ["RefundAgent"] });
  const { brakeId } = await commands.engage({
    ...{ subject: "alice", issuer: "test", reason: "test", entryId: "ae_1", claim: undefined, roles: ["sre"] },
    ...{ selector, includeDescendants: true, ticket: "", emergency: false, expiresInMs: undefined },
    ...{ expectedSetHash: "", reach: Reach.everything },
    resolved: await commands.resolve(selector, true, Reach.everything),
  });
  expect(brakes.holdsOf(brakeId).map(({ workflowId }) => workflowId)).toEqual(["a:one", "b:one"]);
});
