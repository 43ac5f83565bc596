import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Brake, Hold } from "../store/brake.ts";
import type { StoredGateToken } from "../store/gate-tokens.ts";
import type { Revocation } from "../store/revocations.ts";
import type { Answer, Change, Store } from "../store/store.ts";

/** Gate tokens in a list, as of the store. */
const maxGateTokens = 1000;

/**
 * What a store would answer if it had these changes as well: brakes, holds, answers, revocations, gate tokens and open intents.
 * Entries it lists as they are: those of the changes have no place in the ledger yet.
 */
export function pendingView(store: Store, pending: () => readonly Change[]): Partial<Store> {
  const all = <One>(of: (change: Change) => readonly One[] | undefined): One[] =>
    pending().flatMap((change) => of(change) ?? []);
  const brakes = () => all<Brake>((change) => change.brakes);
  const tokens = () => all<StoredGateToken>((change) => change.gateTokens);
  const tokenOf = (is: (token: StoredGateToken) => boolean) => tokens().findLast(is);
  const brake: Store["brake"] = async (id) => brakes().findLast(({ brakeId }) => brakeId === id) ?? store.brake(id);

  return {
    brake,
    activeBrakes: async () => {
      const known = new Map((await store.activeBrakes()).map((one) => [one.brakeId, one]));
      for (const one of brakes()) known.set(one.brakeId, one);
      return [...known.values()];
    },
    listBrakes: async (query) => {
      const { states = [], before, limit } = query;
      const ids = [...new Set(brakes().map(({ brakeId }) => brakeId))];
      const stored = await Promise.all(ids.map((id) => store.brake(id)));
      const newer = ids.filter((_, at) => stored[at] === undefined).reverse();
      const isNewer = before !== undefined && newer.includes(before);
      const behind = newer.slice(before === undefined ? 0 : isNewer ? newer.indexOf(before) + 1 : newer.length);
      const those = behind.flatMap((id) => brakes().findLast(({ brakeId }) => brakeId === id) ?? []);
      const rest = await store.listBrakes(isNewer ? { ...query, before: undefined } : query);
      return [...those.filter(({ state }) => states.length === 0 || states.includes(state)), ...rest].slice(0, limit);
    },
    holdsOf: async (id) => {
      const holds = new Map((await store.holdsOf(id)).map((hold) => [hold.workflowId, hold]));
      for (const hold of all<Hold>((change) => change.holds)) if (hold.brakeId === id) holds.set(hold.workflowId, hold);
      return [...holds.values()];
    },
    brakeOfIntent: async (entryId) => {
      const entries = all((change) => change.entries);
      const effect = entries.find((one) => one.intentEntryId === entryId && one.phase === Phase.SYSTEM && one.brakeId);
      return effect ? brake(effect.brakeId) : store.brakeOfIntent(entryId);
    },
    answer: async (wanted) =>
      all<Answer>((change) => change.answers).findLast(({ key }) => key === wanted) ?? store.answer(wanted),
    openIntents: async () => {
      const entries = all((change) => change.entries);
      const ended = new Set(entries.filter(({ phase }) => phase === Phase.OUTCOME).map((one) => one.intentEntryId));
      const begun = [...(await store.openIntents()), ...entries.filter(({ phase }) => phase === Phase.INTENT)];
      const open = new Map(begun.map((intent) => [intent.entryId, intent]));
      for (const entryId of ended) open.delete(entryId);
      return [...open.values()];
    },
    revocations: async () => {
      const known = new Map<string, Revocation>();
      for (const one of [...(await store.revocations()), ...all<Revocation>((change) => change.revocations)]) {
        known.set([one.issuer, one.tokenId, one.subject].join("\0"), one);
      }
      return [...known.values()];
    },
    revocationOfIntent: async (entryId) =>
      all<Revocation>((change) => change.revocations).findLast((one) => one.intentEntryId === entryId) ??
      store.revocationOfIntent(entryId),
    gateToken: async (id) => tokenOf(({ gateTokenId }) => gateTokenId === id) ?? store.gateToken(id),
    gateTokenByHash: async (hash) =>
      tokenOf((token) => Buffer.compare(token.hash, hash) === 0) ?? store.gateTokenByHash(hash),
    gateTokenOfIntent: async (entryId) =>
      tokenOf((token) => [token.createEntryId, token.revokeEntryId].includes(entryId)) ??
      store.gateTokenOfIntent(entryId),
    gateTokens: async (includeRevoked) => {
      const changed = new Map(tokens().map((token) => [token.gateTokenId, token]));
      const before = await store.gateTokens(true);
      const stored = before.map((token) => changed.get(token.gateTokenId) ?? token);
      const ids = new Set(before.map(({ gateTokenId }) => gateTokenId));
      const newer = [...changed.values()].filter(({ gateTokenId }) => !ids.has(gateTokenId)).reverse();
      const shown = [...newer, ...stored].filter(({ revokeTime }) => includeRevoked || revokeTime === undefined);
      return shown.slice(0, maxGateTokens);
    },
  };
}
