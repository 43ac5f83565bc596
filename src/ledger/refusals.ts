import { isIPv6 } from "node:net";
import { AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Logger } from "../log.ts";
import type { EntryInit, Ledger } from "./ledger.ts";

/** How many refusals get an entry of their own, and what is kept in memory for those that do not. */
export interface RefusalLimits {
  /** From the first refusal on; then the next window begins with the next refusal, ms. */
  readonly windowMs: number;
  /** Entries of their own in a window: for one caller (a subject where it is known, else a network address), and in all. */
  readonly perCaller: number;
  readonly inAll: number;
  /** Callers that are told apart in a window, and sums that are kept: what is beyond is summed up together. */
  readonly callers: number;
  readonly sums: number;
}

export const defaultRefusalLimits: RefusalLimits = {
  windowMs: 10_000,
  perCaller: 60,
  inAll: 600,
  callers: 4_096,
  sums: 1_000,
};

/**
 * Records refusals: each with its own DENIED entry, until they become a flood. Then they are counted, and at the end of the
 * window one entry for each caller, action and reason says how many it stands for: nothing happens unseen, and nobody fills the
 * disk or has others wait for it.
 */
export interface Refusals {
  /**
   * Resolves when the entry is durable, or, in a flood, at once when it is counted. Rejects with LEDGER_UNAVAILABLE where it
   * should have had an entry of its own.
   */
  record(entry: EntryInit): Promise<void>;
  /** Writes what was counted so far. */
  close(): Promise<void>;
}

interface Sum {
  readonly entry: EntryInit;
  count: number;
}

export function createRefusals(ledger: Ledger, log: Logger, options: Partial<RefusalLimits> = {}): Refusals {
  const limits = { ...defaultRefusalLimits, ...options };
  const callers = new Map<string, number>();
  let recorded = 0;
  let sums = new Map<string, Sum>();
  let timer: NodeJS.Timeout | undefined;

  const startWindow = () => {
    timer ??= setTimeout(() => void endWindow(), limits.windowMs).unref();
  };

  const endWindow = async (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    callers.clear();
    recorded = 0;
    const ended = sums;
    sums = new Map();
    await Promise.all([...ended].map(([key, sum]) => write(key, sum)));
  };

  const write = async (key: string, { entry, count }: Sum): Promise<void> => {
    const seconds = limits.windowMs / 1000;
    const message = `stands for ${count} refusals within ${seconds} s: a flood, of which the first ones have entries of their own`;
    try {
      await ledger.append({ ...entry, message, count: BigInt(count) });
    } catch {
      // The ledger tells that it cannot be written. What was counted stays counted, and is written with the next window.
      add(key, entry, count);
      startWindow();
    }
  };

  const add = (key: string, entry: EntryInit, count: number): void => {
    const place = sums.has(key) || sums.size < limits.sums ? key : everybody;
    const sum = sums.get(place);
    if (sum !== undefined) sum.count += count;
    else sums.set(place, { entry: place === key ? entry : nobodys, count });
  };

  return {
    async record(entry) {
      startWindow();
      const caller = callerOf(entry);
      const before = callers.get(caller) ?? (callers.size < limits.callers ? 0 : limits.perCaller);
      if (before < limits.perCaller && recorded < limits.inAll) {
        callers.set(caller, before + 1);
        recorded++;
        await ledger.append(entry);
      } else {
        add(JSON.stringify([caller, entry.action, entry.errorReason]), summed(entry), 1);
      }
    },
    async close() {
      await endWindow();
      clearTimeout(timer);
      const lost = [...sums.values()].reduce((total, { count }) => total + count, 0);
      if (lost > 0)
        log.error({ refusals: lost }, "ALARM: refusals that were counted could not be written to the ledger");
    },
  };
}

/** Under which the sums are put together that nobody can be told apart in any more. */
const everybody = "everybody";
const nobodys: EntryInit = { phase: AuditEntry_Phase.DENIED, action: "unknown" };

/** A subject is known by a good token, and its flood is its own wherever it comes from; strangers are told apart by network. */
function callerOf({ principal }: EntryInit): string {
  const { issuer = "", subject = "", sourceAddress = "" } = principal ?? {};
  return subject === "" ? networkOf(sourceAddress) : JSON.stringify([issuer, subject]);
}

/** One customer has a whole /64 of IPv6 addresses, and could take another one for each refusal. */
function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = "", tail] = address.split("%")[0]?.split("::") ?? [];
  const groups = head === "" ? [] : head.split(":");
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === "" ? 0 : tail.split(":").length);
  const whole = [...groups, ...Array<string>(Math.max(0, missing)).fill("0"), ...(tail ? tail.split(":") : [])];
  return `${whole
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":")}::/64`;
}

/** Of one refusal, what all of its sum have in common. */
function summed({ principal, action, resultCode, errorReason }: EntryInit): EntryInit {
  const { issuer = "", subject = "", roles = [], sourceAddress = "" } = principal ?? {};
  return {
    phase: AuditEntry_Phase.DENIED,
    principal: subject === "" ? { sourceAddress: networkOf(sourceAddress) } : { issuer, subject, roles: [...roles] },
    ...(action !== undefined && { action }),
    ...(resultCode !== undefined && { resultCode }),
    ...(errorReason !== undefined && { errorReason }),
  };
}
