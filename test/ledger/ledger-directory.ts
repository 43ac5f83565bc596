import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { createLedger, type Ledger } from "../../src/ledger/ledger.ts";
import { guarded, LedgerProofs, type ProofOptions } from "../../src/ledger/proofs.ts";
import { createLog } from "../../src/log.ts";
import { parseVerifierKey, type VerifierKey } from "../../src/proof/verifier-key.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";

/** A ledger that is open, with its proofs. */
export interface OpenLedger {
  readonly store: Store;
  readonly ledger: Ledger;
  readonly proofs: LedgerProofs;
  append(count: number): Promise<void>;
  close(): Promise<void>;
}

/** A ledger's directory: database, key and checkpoints, as a server keeps them. */
export interface LedgerDirectory {
  readonly path: string;
  readonly databasePath: string;
  readonly checkpointPath: string;
  readonly key: VerifierKey;
  open(options?: Partial<ProofOptions>): Promise<OpenLedger>;
  /** A copy of the database as it is now; `restore` puts it back. Only while nothing is open. */
  backUp(): () => void;
}

/** An empty one, gone with the test. */
export function ledgerDirectory(): LedgerDirectory {
  const path = mkdtempSync(join(tmpdir(), "mc-ledger-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  const databasePath = join(path, "ledger.db");
  return {
    path,
    databasePath,
    checkpointPath: join(path, "checkpoints", "checkpoint"),
    get key() {
      return parseVerifierKey(readFileSync(join(path, "ledger-key", "verifier.key"), "utf8"));
    },
    async open(options = {}) {
      const log = createLog("silent");
      const database = openSqlite(databasePath);
      const proofs = await LedgerProofs.open({
        store: database,
        keyDirectory: join(path, "ledger-key"),
        checkpointsDirectory: join(path, "checkpoints"),
        log,
        ...options,
      });
      const store = guarded(database, proofs);
      const ledger = createLedger(store, log);
      proofs.start();
      return {
        store,
        ledger,
        proofs,
        append: async (count) => {
          const all = Array.from({ length: count }, (_, n) =>
            ledger.append({ phase: Phase.READ, action: "runtime.list", callId: `call-${n}`, reason: `entry ${n}` }),
          );
          await Promise.all(all);
        },
        close: async () => {
          await proofs.stop();
          await store.close();
        },
      };
    },
    backUp() {
      const copy = join(path, "backup.db");
      cpSync(databasePath, copy);
      return () => {
        for (const suffix of ["-wal", "-shm"]) rmSync(databasePath + suffix, { force: true });
        cpSync(copy, databasePath);
      };
    },
  };
}
