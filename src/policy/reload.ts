import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { AuditEntry_Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Logger } from "../log.ts";
import type { EmbeddedPoint } from "./embedded.ts";
import { policiesHash } from "./policy-files.ts";
import { loadPolicies } from "./policy-tests.ts";

/** How often it is looked whether a file of the folder has changed, ms. */
const lookEveryMs = 1_000;

/** What is used of the folder, and whether that is what is in it. */
export interface ReloadState {
  /** The hash of the policy set that decides. */
  readonly hash: string;
  readonly policies: number;
  /** Why what is in the folder now is not used; undefined: it is. */
  readonly fault: { readonly since: Date; readonly message: string } | undefined;
}

/**
 * Keeps the embedded policies as their folder has them. What changed is validated and tested as a whole; then the ledger is told
 * the new set's hash, and then it decides, from one call to the next. Where any of this fails the old set goes on, and health,
 * log and ledger say why.
 */
export class PolicyReload {
  readonly #point: EmbeddedPoint;
  readonly #ledger: Ledger;
  readonly #log: Logger;
  #fault: ReloadState["fault"];
  /** What the folder looked like when it was last read, and at the last look. */
  #read = "";
  #seen = "";
  #looking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(point: EmbeddedPoint, ledger: Ledger, log: Logger) {
    this.#point = point;
    this.#ledger = ledger;
    this.#log = log;
  }

  /** Follows the folder from now on. What has changed since it was opened is found at the first looks. */
  start(): void {
    this.#timer = setInterval(() => void this.look(), lookEveryMs).unref();
  }

  /** Looks once, as it does by itself every second; a set that is being written is left until it stands still. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  get state(): ReloadState {
    const { hash, policies } = this.#point.set;
    return { hash, policies: count(policies), fault: this.#fault };
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { dir } = this.#point.set;
    const now = await looks(dir);
    const before = this.#seen;
    this.#seen = now;
    // Two files are never written at once: what changed since the last look may change further.
    if (now === this.#read || now !== before) return;
    try {
      // It was validated and tested when it was opened: a server that has just started has better things to do.
      if (this.#read === "" && (await policiesHash(dir)) === this.#point.set.hash) {
        this.#fault = undefined;
        this.#read = now;
        return;
      }
      const { set, tests } = await loadPolicies(dir);
      if (set.hash !== this.#point.set.hash) {
        const message = `policy set ${set.hash}, ${count(set.policies)} policies, ${tests} tests passed; before it ${this.#point.set.hash}`;
        await this.#append("policy.reloaded", message);
        this.#point.replace(set);
        this.#log.warn({ hash: set.hash, tests }, "policy: a new policy set decides");
      }
      this.#fault = undefined;
      this.#read = now;
    } catch (error) {
      await this.#refuse(error instanceof Error ? error.message : String(error), now);
    }
  }

  async #refuse(why: string, looked: string): Promise<void> {
    if (this.#fault?.message !== why) {
      this.#fault = { since: this.#fault?.since ?? new Date(), message: why };
      this.#log.error({ why }, "policy: what is in the folder cannot be used, the policy set of before goes on");
    }
    // Read again only once it has changed; but where the ledger could not be told, until it can.
    if (await this.#tellRefused(`the policy set ${this.#point.set.hash} goes on: ${why}`)) this.#read = looked;
  }

  async #tellRefused(message: string): Promise<boolean> {
    try {
      await this.#append("policy.refused", message);
      return true;
    } catch (error) {
      this.#log.error({ err: error }, "what became of a policy set could not be recorded");
      return false;
    }
  }

  async #append(action: string, message: string): Promise<void> {
    await this.#ledger.append({ phase: AuditEntry_Phase.SYSTEM, action, message });
  }
}

function count(policies: Readonly<Record<string, string>>): number {
  return Object.keys(policies).length;
}

/** The same as long as no file has changed; also for a folder that is not there. */
async function looks(dir: string): Promise<string> {
  try {
    const files = (await readdir(dir)).sort();
    const stats = await Promise.all(files.map((file) => stat(join(dir, file))));
    return JSON.stringify(stats.map(({ ino, size, mtimeMs }, at) => [files[at], ino, size, mtimeMs]));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
