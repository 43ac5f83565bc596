import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { StoredGateToken } from "../../src/store/gate-tokens.ts";
import type { Store } from "../../src/store/store.ts";
import { brake, entry, hold, settled } from "../store/entry.ts";

/** What every store has to pass. `open` opens the same database each time within one test, a fresh one for each test. */
export function storeConformance(
  name: string,
  fresh: () => Promise<{ open: () => Promise<Store>; remove: () => Promise<void> }>,
) {
  describe(`store: ${name}`, () => {
    let database: Awaited<ReturnType<typeof fresh>>;
    let store: Store;
    beforeEach(async () => {
      database = await fresh();
      store = await database.open();
    });
    afterEach(async () => {
      await store.close();
      await database.remove();
    });
    const all = async () => (await store.listEntries({ limit: 1000 })).entries;

    it("numbers entries from 1 without gaps, in the order of the commits", async () => {
      const answers = await Promise.all(
        Array.from({ length: 50 }, () => store.commit({ entries: [entry(), entry()] })),
      );
      expect(answers.flat().map((e) => Number(e.sequence))).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
      expect((await all()).map((e) => Number(e.sequence))).toEqual(Array.from({ length: 100 }, (_, i) => 100 - i));
    });

    it("gives an entry back as it was committed", async () => {
      const given = entry({
        phase: AuditEntry_Phase.DENIED,
        principal: { subject: "mallory", roles: ["viewer"], sourceAddress: "127.0.0.1" },
        reason: "ü – 日本",
        requestDigest: Uint8Array.of(1, 2, 3),
        decision: { allowed: false, policyIds: ["a"], policySetHash: "00" },
      });
      const [stored] = await store.commit({ entries: [given] });
      expect(stored).toEqual({ ...given, sequence: 1n, commitments: stored?.commitments });
      expect(await all()).toEqual([stored]);
      expect(given.sequence).toBe(0n);
    });

    it("goes on where it stopped after it was closed", async () => {
      await store.commit({ entries: [entry()], brakes: [brake()] });
      await store.close();
      store = await database.open();
      const [second] = await store.commit({ entries: [entry()] });
      expect(second?.sequence).toBe(2n);
      expect(await store.activeBrakes()).toEqual([brake()]);
    });

    it("keeps gate tokens: by id, by hash and by intent; of those that are not revoked no two have one name", async () => {
      const token = (more: Partial<StoredGateToken>): StoredGateToken => ({
        gateTokenId: "gt_1",
        hash: new Uint8Array(32).fill(1),
        name: "agents",
        engine: "restate",
        createTime: 1,
        createdBy: "alice",
        expireTime: undefined,
        revokeTime: undefined,
        revokedBy: "",
        createEntryId: "ae_1",
        revokeEntryId: "",
        ...more,
      });
      const put = (more: Partial<StoredGateToken>) => store.commit({ entries: [entry()], gateTokens: [token(more)] });
      await put({});
      expect(await store.gateToken("gt_1")).toEqual(token({}));
      expect(await store.gateTokenByHash(new Uint8Array(32).fill(1))).toEqual(token({}));
      expect(await store.gateTokenByHash(new Uint8Array(32).fill(2))).toBeUndefined();
      const second = { gateTokenId: "gt_2", hash: new Uint8Array(32).fill(2), createEntryId: "ae_2" };
      await expect(put(second)).rejects.toThrow();
      await put({ revokeTime: 2, revokedBy: "bob", revokeEntryId: "ae_3" });
      await put(second);
      expect((await store.gateTokens(false)).map(({ gateTokenId }) => gateTokenId)).toEqual(["gt_2"]);
      expect((await store.gateTokens(true)).map(({ gateTokenId }) => gateTokenId)).toEqual(["gt_2", "gt_1"]);
      expect((await store.gateTokenOfIntent("ae_3"))?.gateTokenId).toBe("gt_1");
      expect((await store.gateTokenOfIntent("ae_2"))?.gateTokenId).toBe("gt_2");
      expect(await store.gateTokenOfIntent("")).toBeUndefined();
    });

    it("writes all of a change or nothing of it", async () => {
      await store.commit({ entries: [entry()] });
      await expect(
        store.commit({
          entries: [entry()],
          holds: [hold({ brakeId: "br_of_nobody" })],
          brakes: [brake()],
          answers: [
            { key: "k", requestDigest: Uint8Array.of(1), response: Uint8Array.of(2), brakeId: "", time: Date.now() },
          ],
        }),
      ).rejects.toMatchObject({ reason: "LEDGER_UNAVAILABLE" });
      expect(await all()).toHaveLength(1);
      expect(await store.activeBrakes()).toEqual([]);
      expect(await store.answer("k")).toBeUndefined();
    });

    it("keeps revocations with the entry that tells of them, the last of one token or subject, and knows them by their intent", async () => {
      const one = {
        issuer: "https://login.test",
        tokenId: "t-1",
        subject: "",
        issuedBefore: 0,
        reason: "leaked",
        revokedBy: "root",
        revokeTime: Date.now(),
        expireTime: Date.now() + 3_600_000,
        intentEntryId: "ae_first",
      };
      const ofSubject = { ...one, tokenId: "", subject: "alice", issuedBefore: Date.now(), intentEntryId: "ae_other" };
      await store.commit({ entries: [entry()], revocations: [one, ofSubject] });
      const again = { ...one, reason: "found twice", intentEntryId: "ae_again" };
      await store.commit({ entries: [entry()], revocations: [again] });
      await store.close();
      store = await database.open();
      expect(await store.revocations()).toEqual([ofSubject, again]);
      expect(await store.revocationOfIntent("ae_again")).toEqual(again);
      expect(await store.revocationOfIntent("ae_first")).toBeUndefined();
    });

    it("lets no failing change take its neighbours with it, nor leave a gap", async () => {
      const results = await Promise.allSettled([
        store.commit({ entries: [entry()] }),
        store.commit({ entries: [entry()], holds: [hold({ brakeId: "br_of_nobody" })] }),
        store.commit({ entries: [entry()] }),
      ]);
      expect(results.map((r) => r.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      expect((await all()).map((e) => Number(e.sequence))).toEqual([2, 1]);
    });

    it("refuses an entry without a phase, an id or a time", async () => {
      for (const bad of [entry({ phase: AuditEntry_Phase.PHASE_UNSPECIFIED }), entry({ entryId: "" })]) {
        await expect(store.commit({ entries: [bad] })).rejects.toMatchObject({ reason: "LEDGER_UNAVAILABLE" });
      }
      const timeless = entry();
      delete timeless.time;
      await expect(store.commit({ entries: [timeless] })).rejects.toMatchObject({ reason: "LEDGER_UNAVAILABLE" });
      expect(await all()).toEqual([]);
    });

    it("finds entries by all that is asked for, the newest first, page by page", async () => {
      const pause = { action: "runtime.pause", target: "restate:inv_1", callId: "c1" };
      await store.commit({
        entries: [
          entry({
            ...pause,
            phase: AuditEntry_Phase.INTENT,
            principal: { subject: "alice" },
            time: timestampFromMs(1000),
          }),
          entry({
            ...pause,
            phase: AuditEntry_Phase.DENIED,
            principal: { subject: "bob" },
            time: timestampFromMs(2000),
          }),
          entry({
            action: "runtime.list",
            phase: AuditEntry_Phase.READ,
            principal: { subject: "alice" },
            time: timestampFromMs(3000),
          }),
        ],
      });
      const found = async (query: Omit<Parameters<Store["listEntries"]>[0], "limit">, limit = 10) =>
        (await store.listEntries({ ...query, limit })).entries.map((e) => Number(e.sequence));
      expect(await found({ subject: "alice" })).toEqual([3, 1]);
      expect(await found({ actions: ["runtime.pause", "runtime.resume"] })).toEqual([2, 1]);
      expect(await found({ actions: [] })).toEqual([3, 2, 1]);
      expect(await found({ target: "restate:inv_1", subject: "bob" })).toEqual([2]);
      expect(await found({ callId: "c1" })).toEqual([2, 1]);
      expect(await found({ phases: [AuditEntry_Phase.DENIED, AuditEntry_Phase.READ] })).toEqual([3, 2]);
      expect(await found({ since: 2000, until: 3000 })).toEqual([2]);
      expect(await found({}, 2)).toEqual([3, 2]);
      expect(await found({ before: 2n }, 2)).toEqual([1]);
      expect(await found({ subject: "' OR 1=1 --" })).toEqual([]);
    });

    it("knows the intents that no outcome has ended, the oldest first", async () => {
      const intents = [1, 2, 3].map(() => entry({ phase: AuditEntry_Phase.INTENT }));
      await store.commit({ entries: intents });
      await store.commit({
        entries: [entry({ phase: AuditEntry_Phase.OUTCOME, intentEntryId: intents[1]?.entryId ?? "" })],
      });
      await store.commit({ entries: [entry({ phase: AuditEntry_Phase.SYSTEM })] });
      expect((await store.openIntents()).map((e) => e.entryId)).toEqual([intents[0]?.entryId, intents[2]?.entryId]);
    });

    it("keeps a brake active until it is released and all that it held is settled", async () => {
      const [one, two] = [brake(), brake({ brakeId: "br_2" })];
      const [first, second] = [hold(), hold({ workflowId: "restate:inv_2", order: 1 })];
      await store.commit({ entries: [entry()], brakes: [one, two], holds: [first, second] });
      const released = { ...one, state: "RELEASED" as const };
      await store.commit({ entries: [], brakes: [released], holds: [settled(first)] });
      expect(await store.activeBrakes()).toEqual([released, two]);
      await store.commit({ entries: [], holds: [settled(second)] });
      expect(await store.activeBrakes()).toEqual([two]);
      expect(await store.brake("br_1")).toEqual(released);
      expect(await store.brake("br_9")).toBeUndefined();
    });

    it("keeps a brake active that waits for its approval", async () => {
      await store.commit({ entries: [], brakes: [brake({ state: "AWAITING_APPROVAL" })] });
      expect(await store.activeBrakes()).toHaveLength(1);
    });

    it("knows the holds of a brake in the order of their catch, and replaces them", async () => {
      const holds = ["inv_3", "inv_1", "inv_2"].map((id, order) => hold({ workflowId: `restate:${id}`, order }));
      await store.commit({ entries: [], brakes: [brake()], holds });
      const ended = settled({ ...(holds[1] ?? hold()), ended: true });
      await store.commit({ entries: [], holds: [ended] });
      expect(await store.holdsOf("br_1")).toEqual([holds[0], ended, holds[2]]);
      const many = Array.from({ length: 1_234 }, (_, order) =>
        hold({
          brakeId: "br_2",
          workflowId: `gate:run ${order}, "'\n`,
          order,
          traits: { type: "A", labels: { n: `${order}` } },
        }),
      );
      await store.commit({ entries: [], brakes: [brake({ brakeId: "br_2" })], holds: many.slice(0, 1_000) });
      await store.commit({ entries: [], holds: many.slice(1_000) });
      const [first, last] = [settled(many[0] ?? hold()), settled(many[1_233] ?? hold())];
      await store.commit({ entries: [], holds: [last, ended, first] });
      expect(await store.holdsOf("br_2")).toEqual([first, ...many.slice(1, -1), last]);
      expect(await store.heldOf(last.workflowId)).toEqual([{ brake: brake({ brakeId: "br_2" }), hold: last }]);
      expect(await store.holdsOf("br_9")).toEqual([]);
    });

    it("knows all holds of a workflow with their brakes, the oldest first", async () => {
      const brakes = ["br_3", "br_1", "br_2"].map((brakeId) => brake({ brakeId, state: "RELEASED" }));
      const holds = brakes.map(({ brakeId }) => hold({ brakeId }));
      await store.commit({
        entries: [],
        brakes,
        holds: [...holds, hold({ brakeId: "br_1", workflowId: "restate:inv_2" })],
      });
      const held = await store.heldOf("restate:inv_1");
      expect(held.map((one) => [one.brake.brakeId, one.hold.brakeId])).toEqual([
        ["br_3", "br_3"],
        ["br_1", "br_1"],
        ["br_2", "br_2"],
      ]);
      expect(await store.heldOf("restate:inv_9")).toEqual([]);
    });

    it("lists brakes, the newest first, by state and in pages", async () => {
      const brakes = ["br_1", "br_2", "br_3"].map((brakeId) => brake({ brakeId }));
      await store.commit({ entries: [], brakes });
      await store.commit({ entries: [], brakes: [brake({ brakeId: "br_2", state: "EXPIRED" })] });
      const ids = async (query: Parameters<Store["listBrakes"]>[0]) =>
        (await store.listBrakes(query)).map(({ brakeId }) => brakeId);
      expect(await ids({ limit: 2 })).toEqual(["br_3", "br_2"]);
      expect(await ids({ limit: 2, before: "br_2" })).toEqual(["br_1"]);
      expect(await ids({ limit: 9, states: ["EXPIRED"] })).toEqual(["br_2"]);
    });

    it("knows which brake an intent took effect on", async () => {
      const intent = entry({ phase: AuditEntry_Phase.INTENT });
      const effect = entry({ phase: AuditEntry_Phase.SYSTEM, intentEntryId: intent.entryId, brakeId: "br_1" });
      await store.commit({ entries: [intent] });
      expect(await store.brakeOfIntent(intent.entryId)).toBeUndefined();
      await store.commit({ entries: [effect], brakes: [brake()] });
      expect(await store.brakeOfIntent(intent.entryId)).toEqual(brake());
    });

    it("fills in the answer to a request whose effect is known already, once", async () => {
      const claim = {
        key: "k",
        requestDigest: Uint8Array.of(1),
        response: new Uint8Array(),
        brakeId: "br_1",
        time: Date.now(),
      };
      await store.commit({ entries: [], answers: [claim] });
      expect(await store.answer("k")).toEqual(claim);
      const answer = { ...claim, response: Uint8Array.of(7) };
      await store.commit({ entries: [], answers: [answer] });
      await store.commit({ entries: [], answers: [{ ...claim, response: Uint8Array.of(8) }] });
      expect(await store.answer("k")).toEqual(answer);
    });

    it("gives the first answer to a request again", async () => {
      const answer = {
        key: "alice/Pause/1",
        requestDigest: Uint8Array.of(1),
        response: Uint8Array.of(2),
        brakeId: "",
        time: Date.now(),
      };
      await store.commit({ entries: [], answers: [answer] });
      await store.commit({ entries: [], answers: [{ ...answer, response: Uint8Array.of(3) }] });
      expect(await store.answer(answer.key)).toEqual(answer);
      expect(await store.answer("another")).toBeUndefined();
    });

    it("keeps answers for 24 hours, not for ever", async () => {
      const hour = 60 * 60 * 1000;
      const of = (key: string, age: number) => ({
        key,
        requestDigest: Uint8Array.of(1),
        response: Uint8Array.of(2),
        brakeId: "",
        time: Date.now() - age,
      });
      await store.commit({ entries: [], answers: [of("young", 23.9 * hour), of("old", 26 * hour)] });
      await store.close();
      store = await database.open();
      await store.commit({ entries: [entry()] });
      expect(await store.answer("young")).toBeDefined();
      expect(await store.answer("old")).toBeUndefined();
    });

    it("writes what waits before it closes, and nothing after", async () => {
      const commit = store.commit({ entries: [entry()] });
      await store.close();
      expect((await commit)[0]?.sequence).toBe(1n);
      await expect(store.commit({ entries: [entry()] })).rejects.toMatchObject({ reason: "LEDGER_UNAVAILABLE" });
      store = await database.open();
      expect(await all()).toHaveLength(1);
    });

    it("refuses changes rather than letting an endless queue wait", async () => {
      const results = await Promise.allSettled(
        Array.from({ length: 6000 }, () => store.commit({ entries: [entry()] })),
      );
      const written = results.filter((r) => r.status === "fulfilled").length;
      expect(written).toBeLessThan(6000);
      expect(results.find((r) => r.status === "rejected")).toMatchObject({ reason: { reason: "LEDGER_UNAVAILABLE" } });
      expect(Number(store.head)).toBe(written);
      expect(Number((await all())[0]?.sequence)).toBe(written);
    });
  });
}
