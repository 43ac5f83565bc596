import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  AuditEntrySchema,
  ExportAuditEntriesResponseSchema,
  AuditEntry_Phase as Phase,
} from "../gen/missioncontrol/v1/audit_log_pb.ts";
import type { PersonalField } from "../gen/missioncontrol/v1/audit_personal_pb.ts";
import { checkpointText } from "../src/proof/checkpoint.ts";
import { lineText } from "../src/proof/export.ts";
import { leafHash } from "../src/proof/hash.ts";
import { CompactRange } from "../src/proof/merkle.ts";
import { type NoteSigner, signNote } from "../src/proof/note.ts";
import { verifierKey } from "../src/proof/verifier-key.ts";
import { type Bench, median } from "./bench.ts";

const root = join(import.meta.dirname, "..");
const run = promisify(execFile);

/** Seconds that a whole ledger takes to be verified from its export: by mctl, and by the script in Python. */
export const verify: Bench = {
  name: "verify",
  about: "seconds to verify an export of 100 entries for each workflow, by mctl and by examples/verify",

  async run({ workflows, repeat }, say) {
    const entries = workflows * 100;
    const dir = mkdtempSync(join(tmpdir(), "mc-bench-"));
    try {
      const file = join(dir, "ledger.jsonl");
      const key = writeExport(file, entries);
      say(`an export of ${entries} entries is written`);
      const contenders = {
        mctl: [process.execPath, join(root, "bin/mctl.js"), "audit", "verify", "--offline", file, "--key", key],
        python: ["python3", "-B", join(root, "examples/verify/verify.py"), "export", file, "--key", key],
      };
      const seconds = { mctl: [] as number[], python: [] as number[] };
      for (let round = 0; round < repeat; round++) {
        for (const [name, [command = "", ...args]] of Object.entries(contenders)) {
          const began = performance.now();
          await run(command, args);
          seconds[name as keyof typeof seconds].push((performance.now() - began) / 1000);
        }
        say(`round ${round + 1} of ${repeat}`);
      }
      const of = (name: keyof typeof seconds) => median(seconds[name]);
      // A million are to be verified within a minute.
      const atLeast = 16_667;
      return [
        { name: "entries of the export", value: entries, unit: "count" },
        { name: "verified by mctl", value: of("mctl") * 1000, unit: "ms" },
        { name: "verified by mctl, entries", value: entries / of("mctl"), unit: "1/s", target: { atLeast } },
        { name: "verified by Python, entries", value: entries / of("python"), unit: "1/s" },
      ];
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

/** Writes an export as `mctl audit export --bytes-only` does; returns the public key. */
function writeExport(path: string, entries: number): string {
  const signer = makeSigner();
  const { name: origin } = signer.key;
  const file = openSync(path, "w");
  const range = new CompactRange();
  let waiting = lineOf({ case: "begin", value: { origin } });
  for (let n = 1; n <= entries; n++) {
    const bytes = toBinary(AuditEntrySchema, entryOf(n));
    range.append(leafHash(bytes));
    waiting += lineOf({ case: "entry", value: { sequence: BigInt(n), bytes } });
    if (waiting.length < 1 << 20) continue;
    writeSync(file, waiting);
    waiting = "";
  }
  const checkpoint = signNote(checkpointText({ origin, size: entries, root: range.root() }), [signer]);
  writeSync(file, waiting + lineOf({ case: "end", value: { checkpoint } }));
  closeSync(file);
  return signer.key.text;
}

function makeSigner(): NoteSigner {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
  return { key: verifierKey("mission-control/bench", raw), privateKey };
}

/** What a control call writes, with its personal values as commitments. */
function entryOf(sequence: number) {
  return create(AuditEntrySchema, {
    entryId: `ae_${String(sequence).padStart(26, "0")}`,
    sequence: BigInt(sequence),
    time: timestampFromMs(1_790_000_000_000 + sequence),
    phase: Phase.INTENT,
    principal: { issuer: "https://login.example.com/", roles: ["sre_admin"], authenticationMethod: "jwt" },
    action: "runtime.pause",
    method: "missioncontrol.v1.MissionControl/PauseWorkflow",
    target: "restate:inv_1gN5nmrVBout74vX0agJZVIe3YBmlxI1oI",
    engine: "restate",
    callId: "0b0c3b8e-2f5c-4b39-9b0e-7f3ce1a2d9aa",
    protocol: "grpc",
    decision: { allowed: true, policyIds: ["control"], policySetHash: "c0ffee".repeat(10) },
    commitments: [1, 2, 3, 4, 7].map((field) => ({
      field: field as PersonalField,
      hash: new Uint8Array(32).fill(field),
    })),
  } satisfies MessageInitShape<typeof AuditEntrySchema>);
}

type Line = NonNullable<MessageInitShape<typeof ExportAuditEntriesResponseSchema>["line"]>;

function lineOf(line: Line): string {
  return `${lineText(create(ExportAuditEntriesResponseSchema, { line }))}\n`;
}
