import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MissionControlError } from "../../src/errors.ts";
import { GateTokens } from "../../src/identity/gate-tokens.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import { TokensInUse } from "../../src/services/tokens-in-use.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";

const by = { subject: "alice", reason: "test", entryId: "" };
const staying = new AbortController().signal;

let dir: string;
let store: Store;
let tokens: GateTokens;
let inUse: TokensInUse;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "mc-tokens-"));
  store = openSqlite(join(dir, "ledger.db"));
  tokens = new GateTokens(store, createLedger(store, createLog("silent")), ["e"]);
  inUse = new TokensInUse(tokens);
});
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true });
});

/** Waits until it may wait no longer, which rejects with why. */
const wait = (secret: string, signal = staying) =>
  inUse.use(secret, signal, async (_, over) => {
    const { promise, reject } = Promise.withResolvers<never>();
    over.addEventListener("abort", () => reject(over.reason), { once: true });
    return promise;
  });
const make = (name: string, expiresInMs?: number) => tokens.create({ name, engine: "e", expiresInMs }, by);

test("all who wait with a token are told when it ends, and none of another", async () => {
  const { secret } = await make("ends", 100);
  const leaving = new AbortController();
  const stays = wait((await make("stays")).secret, leaving.signal);
  const all = await Promise.allSettled([wait(secret), wait(secret)]);
  expect(all).toMatchObject(Array(2).fill({ reason: { reason: "TOKEN_EXPIRED" } }));
  leaving.abort(new Error("gone"));
  await expect(stays).rejects.toThrow("gone");
});

test("whoever waits with one that is revoked is told what a new request is told", async () => {
  const { secret, token } = await make("leaked");
  const waits = wait(secret);
  const { gateTokenId } = (await make("another")).token;
  await tokens.revoke(gateTokenId, by);
  await tokens.revoke(token.gateTokenId, by);
  await expect(waits).rejects.toMatchObject({ reason: "TOKEN_REVOKED" });
  await expect(wait(secret)).rejects.toMatchObject({ reason: "TOKEN_REVOKED" });
});

test("a store that cannot be read lets nobody go who waits", async () => {
  const { secret, token } = await make("leaked");
  const { gateTokenByHash } = store;
  const waits = wait(secret);
  const tried = Promise.withResolvers<void>();
  const { gateTokenId } = (await make("another")).token;
  store.gateTokenByHash = () => {
    tried.resolve();
    return Promise.reject(new MissionControlError("LEDGER_UNAVAILABLE", "the disk is gone"));
  };
  await tokens.revoke(gateTokenId, by);
  await tried.promise;
  store.gateTokenByHash = gateTokenByHash;
  await tokens.revoke(token.gateTokenId, by);
  await expect(waits).rejects.toMatchObject({ reason: "TOKEN_REVOKED" });
});
