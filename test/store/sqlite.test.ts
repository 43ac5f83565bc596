import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { leafHash } from "../../src/proof/hash.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { storeConformance } from "../conformance/store.ts";
import { entry } from "./entry.ts";

storeConformance("sqlite", async () => {
  const dir = await mkdtemp(join(tmpdir(), "mc-store-"));
  return { open: async () => openSqlite(join(dir, "ledger.db")), remove: () => rm(dir, { recursive: true }) };
});

describe("the SQLite store", () => {
  let dir: string;
  let path: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "mc-store-"));
    path = join(dir, "data", "ledger.db");
  });
  afterEach(() => rm(dir, { recursive: true }));

  it("keeps every acknowledged entry through a kill -9, without gaps", async () => {
    const child = spawn(process.execPath, [join(import.meta.dirname, "commit-loop.ts"), path], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let acknowledged = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged = Math.max(acknowledged, Number(line));
      if (acknowledged >= 500 && !child.killed) child.kill("SIGKILL");
    }
    if (child.signalCode === null) await once(child, "exit");
    expect(child.signalCode).toBe("SIGKILL");

    const store = openSqlite(path);
    const [newest] = await store.listEntries({ limit: 1 });
    expect(Number(newest?.sequence)).toBeGreaterThanOrEqual(acknowledged);
    await store.close();
    const db = new DatabaseSync(path);
    const row = db.prepare("SELECT count(*) AS n, min(sequence) AS first, max(sequence) AS last FROM entry").get();
    db.close();
    expect(row).toEqual({ n: Number(newest?.sequence), first: 1, last: Number(newest?.sequence) });
  });

  it("on a disk that fills up refuses what it cannot write, and keeps what it acknowledged", async () => {
    // The shell's limit on the size of files stands for a full disk: the writes fail in the middle of transactions.
    const script = join(import.meta.dirname, "fill-disk.ts");
    const child = spawn("sh", ["-c", `trap "" XFSZ; ulimit -f 600; exec "${process.execPath}" "${script}" "${path}"`], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const { acknowledged, refused } = JSON.parse(await text(child.stdout));
    expect(acknowledged).toBeGreaterThan(0);
    expect(refused).toEqual(["LEDGER_UNAVAILABLE"]);
    const store = openSqlite(path);
    const [next] = await store.commit({ entries: [entry()] });
    expect(next?.sequence).toBe(BigInt(acknowledged + 1));
    await store.close();
  });

  it("lets nobody else read the ledger", async () => {
    const store = openSqlite(path);
    await store.commit({ entries: [entry()] });
    expect((await stat(join(dir, "data"))).mode & 0o777).toBe(0o700);
    for (const file of [path, `${path}-wal`, `${path}-shm`]) expect((await stat(file)).mode & 0o777).toBe(0o600);
    await store.close();
  });

  it("stores a leaf hash over the very bytes that it stores", async () => {
    const store = openSqlite(path);
    await store.commit({ entries: [entry(), entry()] });
    await store.close();
    const db = new DatabaseSync(path);
    for (const row of db.prepare("SELECT bytes, leaf_hash FROM entry").all()) {
      expect(Buffer.from(row.leaf_hash as Uint8Array)).toEqual(Buffer.from(leafHash(row.bytes as Uint8Array)));
    }
    db.close();
  });

  it("refuses to change or delete an entry, whoever asks the database", async () => {
    const store = openSqlite(path);
    await store.commit({ entries: [entry()] });
    await store.close();
    const db = new DatabaseSync(path);
    expect(() => db.exec("UPDATE entry SET subject = 'nobody'")).toThrow("append-only");
    expect(() => db.exec("DELETE FROM entry")).toThrow("append-only");
    db.close();
  });

  it("refuses a change while it cannot write, and goes on when it can again", async () => {
    const store = openSqlite(path);
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    await expect(store.commit({ entries: [entry()] })).rejects.toMatchObject({ reason: "LEDGER_UNAVAILABLE" });
    other.exec("ROLLBACK");
    other.close();
    const [stored] = await store.commit({ entries: [entry()] });
    expect(stored?.sequence).toBe(1n);
    await store.close();
  });

  it("refuses a database that a newer version wrote, and says what to do", async () => {
    await openSqlite(path).close();
    const db = new DatabaseSync(path);
    db.exec("PRAGMA user_version = 99");
    db.close();
    expect(() => openSqlite(path)).toThrow(
      /newer Mission Control \(schema 99, this one knows \d+\): start that version/,
    );
  });

  it("leaves another program's database and a file that is none alone", async () => {
    const foreign = join(dir, "foreign.db");
    const db = new DatabaseSync(foreign);
    db.exec("CREATE TABLE orders (id INTEGER)");
    db.close();
    expect(() => openSqlite(foreign)).toThrow(/database of another program/);
    const notes = join(dir, "notes.txt");
    await writeFile(notes, "not a database, but long enough that SQLite has to look at it twice\n".repeat(20));
    expect(() => openSqlite(notes)).toThrow(/cannot open the ledger's database/);
  });
});

describe("the leaf hash", () => {
  it("is the one of RFC 9162", () => {
    expect(Buffer.from(leafHash(new Uint8Array())).toString("hex")).toBe(
      "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    );
  });
});
