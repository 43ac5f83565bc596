import { randomUUID } from "node:crypto";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AuditEntry_Phase as Phase } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import {
  Revocations as RevocationsDescriptor,
  Revocation_Source as Source,
} from "../../gen/missioncontrol/v1/revocations_pb.ts";
import { settleIntents } from "../../src/brakes/settle-intents.ts";
import { Revocations } from "../../src/identity/revocations.ts";
import { createLedger } from "../../src/ledger/ledger.ts";
import { createLog } from "../../src/log.ts";
import { Access } from "../../src/policy/access.ts";
import { Reach } from "../../src/policy/reach.ts";
import { defaultRoles } from "../../src/policy/roles.ts";
import { revocationFileComponents } from "../../src/services/revocations.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { call, doorOf, doorsOf } from "../fixture/protocols.ts";
import { type IdentityPort, startIdentityPort } from "./port.ts";
import { fakeClock } from "./provider.ts";
import { audience, issuer, jwks, now, otherSpellings, token } from "./tokens.ts";

const issuers = [{ issuer, audiences: [audience], jwks }];
const { listWorkflows, watchWorkflows } = MissionControl.method;
const { revokeTokens } = RevocationsDescriptor.method;
const reason = "laptop stolen";
const admin = () => token({}, { sub: "root", roles: ["sre_admin"] });

let port: IdentityPort;
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "mc-revocations-"));
});
afterEach(async () => {
  await port.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Whether a token lets its bearer list workflows, by each protocol: "OK", or the reason. */
async function doors(bearer: string): Promise<string[]> {
  const answers = await Promise.all(doorsOf(listWorkflows).map((door) => call(door, port.url, {}, { token: bearer })));
  return [...new Set(answers.map(({ code, reason }) => (code === "OK" ? code : reason)))];
}
function revoke(request: MessageInitShape<typeof revokeTokens.input>, sent: { token?: string; callId?: string } = {}) {
  return call(doorOf(revokeTokens, "rest"), port.url, { issuer, reason, ...request }, { token: admin(), ...sent });
}
function clientOf(): Client<typeof RevocationsDescriptor> {
  const authorization = `Bearer ${admin()}`;
  const authorize = (next: never) => (req: { header: Headers }) => {
    req.header.set("authorization", authorization);
    return (next as (req: unknown) => never)(req);
  };
  return createClient(
    RevocationsDescriptor,
    createGrpcTransport({ baseUrl: port.url, interceptors: [authorize as never] }),
  );
}

describe("a token that was revoked by its id", () => {
  it("is refused at once by every protocol, though it was remembered; others of its subject are not", async () => {
    port = await startIdentityPort({ issuers });
    const [bad, good] = [token({}, { jti: "bad" }), token()];
    expect(await doors(bad)).toEqual(["OK"]);
    expect(await revoke({ tokenId: "bad" })).toMatchObject({
      code: "OK",
      messages: [{ revocation: { issuer, tokenId: "bad", revokedBy: "root", reason, source: Source.CALL } }],
    });
    expect(await doors(bad)).toEqual(["TOKEN_REVOKED"]);
    expect(await doors(good)).toEqual(["OK"]);
  });

  it("is refused in its 15 other spellings as well", async () => {
    port = await startIdentityPort({ issuers });
    const bad = token({}, { jti: "bad" });
    await revoke({ tokenId: "bad" });
    const spellings = otherSpellings(bad);
    expect(spellings).toHaveLength(15);
    for (const spelling of spellings) {
      expect(Buffer.from(spelling.split(".")[2] ?? "", "base64url")).toEqual(
        Buffer.from(bad.split(".")[2] ?? "", "base64url"),
      );
      await expect(port.verifier.verify(spelling)).rejects.toMatchObject({ code: 16 });
    }
    expect(await doors(spellings[0] ?? "")).toEqual(["TOKEN_MALFORMED"]);
  });

  it("stays refused after a restart", async () => {
    port = await startIdentityPort({ issuers });
    const bad = token({}, { jti: "bad" });
    await revoke({ tokenId: "bad" });
    await port.close("keep");
    port = await startIdentityPort({ issuers, dir: port.dir });
    expect(await doors(bad)).toEqual(["TOKEN_REVOKED"]);
  });

  it("is one of its issuer's: another's with the same id is not meant", async () => {
    port = await startIdentityPort({
      issuers: [...issuers, { issuer: "https://b.test", audiences: [audience], jwks }],
    });
    await revoke({ tokenId: "same" });
    expect(await doors(token({}, { jti: "same", iss: "https://b.test" }))).toEqual(["OK"]);
    expect(await doors(token({}, { jti: "same" }))).toEqual(["TOKEN_REVOKED"]);
  });
});

describe("tokens that were revoked by their subject", () => {
  it("are refused where they were issued before; one that was issued later is good", async () => {
    port = await startIdentityPort({ issuers });
    const at = (iat: number) => token({}, { iat });
    const issuedBefore = timestampFromMs((now() - 60) * 1000);
    await revoke({ subject: "alice", issuedBefore });
    expect(await doors(at(now() - 90))).toEqual(["TOKEN_REVOKED"]);
    expect(await doors(at(now() - 30))).toEqual(["OK"]);
    expect(await doors(token({}, { sub: "bob", iat: now() - 90 }))).toEqual(["OK"]);
  });

  it("are by default all that there are, also those of an issuer whose clock is ahead", async () => {
    port = await startIdentityPort({ issuers });
    await revoke({ subject: "alice" });
    expect(await doors(token({}, { iat: now() + 20 }))).toEqual(["TOKEN_REVOKED"]);
  });

  it("are not let in again by a second revocation of an earlier moment", async () => {
    port = await startIdentityPort({ issuers });
    await revoke({ subject: "alice" });
    await revoke({ subject: "alice", issuedBefore: timestampFromMs((now() - 3600) * 1000) });
    expect(await doors(token({}, { iat: now() - 1800 }))).toEqual(["TOKEN_REVOKED"]);
  });
});

describe("revoking", () => {
  it("is recorded: intent, what was revoked, outcome", async () => {
    port = await startIdentityPort({ issuers });
    const callId = randomUUID();
    const answer = await revoke({ tokenId: "bad" }, { callId });
    const [intent, outcome] = await port.entries(callId);
    expect(intent).toMatchObject({
      phase: Phase.INTENT,
      action: "tokens.revoke",
      reason,
      principal: { subject: "root" },
    });
    expect(outcome).toMatchObject({ phase: Phase.OUTCOME, resultCode: "OK", intentEntryId: intent?.entryId });
    expect(answer.messages[0]?.auditEntryId).toBe(intent?.entryId);
    const done = (await port.entries()).filter(({ action }) => action === "tokens.revoked");
    expect(done).toMatchObject([
      { phase: Phase.SYSTEM, intentEntryId: intent?.entryId, message: `by root: token bad of ${issuer}`, reason },
    ]);
  });

  it.each([
    ["an issuer that is none here", { issuer: `${issuer}/`, tokenId: "x" }, "issuer"],
    ["neither a token nor a subject", {}, ""],
    ["both", { tokenId: "x", subject: "alice" }, ""],
    ["a moment for one token", { tokenId: "x", issuedBefore: timestampFromMs(0) }, ""],
    ["a ban", { subject: "alice", issuedBefore: timestampFromMs(Date.now() + 2 * 86_400_000) }, "issued_before"],
    ["no reason", { tokenId: "x", reason: " " }, "reason"],
  ])("%s is refused: INVALID_ARGUMENT, with the field", async (_, request, field) => {
    port = await startIdentityPort({ issuers });
    const answer = await revoke(request);
    expect(answer).toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_ARGUMENT" });
    expect(answer.violations.map((violation) => violation.field)).toContain(field);
    expect(port.revocations.list()).toEqual([]);
  });

  it("is for sre_admin", async () => {
    port = await startIdentityPort({ issuers });
    for (const role of ["viewer", "sre", "auditor", "gate"]) {
      expect((await revoke({ tokenId: "x" }, { token: token({}, { roles: [role] }) })).reason).toBe("ROLE_DENIED");
    }
    expect(port.revocations.list()).toEqual([]);
  });

  it("that was cut off by a crash after it took effect is settled as done", async () => {
    port = await startIdentityPort({ issuers });
    await port.close("keep");
    const store = openSqlite(join(port.dir, "ledger.db"));
    const log = createLog("silent");
    const ledger = createLedger(store, log);
    const revocations = await Revocations.open({ store, ledger, issuers, log });
    const by = await port.verifier.verify(admin()).catch(() => ({ subject: "root" }) as never);
    const intent = await ledger.append({ phase: Phase.INTENT, action: "tokens.revoke" });
    const lost = await ledger.append({ phase: Phase.INTENT, action: "tokens.revoke" });
    await revocations.revoke({
      issuer,
      tokenId: "bad",
      subject: "",
      issuedBefore: undefined,
      reason,
      by,
      intentEntryId: intent.entryId,
    });
    expect(await settleIntents(store, ledger)).toBe(2);
    const outcomes = (await store.listEntries({ phases: [Phase.OUTCOME], limit: 10 })).entries.reverse();
    expect(outcomes.map(({ intentEntryId, resultCode }) => [intentEntryId, resultCode])).toEqual([
      [intent.entryId, "OK"],
      [lost.entryId, "ABORTED"],
    ]);
    await store.close();
    port = await startIdentityPort({ issuers, dir: port.dir });
    expect(await doors(token({}, { jti: "bad" }))).toEqual(["TOKEN_REVOKED"]);
  });
});

describe("the list", () => {
  it("has what is in force, the newest first, in pages that survive changes", async () => {
    port = await startIdentityPort({ issuers });
    for (const tokenId of ["1", "2", "3", "4", "5"]) await revoke({ tokenId });
    const client = clientOf();
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await client.listRevocations({ pageSize: 2, pageToken });
      seen.push(...page.revocations.map(({ tokenId }) => tokenId));
      if (pageToken === "") await revoke({ tokenId: "6" });
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen.toSorted()).toEqual(["1", "2", "3", "4", "5"]);
    expect((await client.listRevocations({})).revocations).toHaveLength(6);
    expect((await client.listRevocations({ issuer: "https://b.test" })).revocations).toEqual([]);
    await expect(client.listRevocations({ pageToken: "?" })).rejects.toMatchObject({ code: 3 });
  });

  it("forgets a revocation when no token that it keeps out can be alive any more", async () => {
    port = await startIdentityPort({ issuers });
    const clock = fakeClock();
    const log = createLog("silent");
    const ledger = createLedger(port.store, log);
    const short = [{ issuer, audiences: [audience], jwks, maxLifetimeS: 3600 }];
    const revocations = await Revocations.open({ store: port.store, ledger, issuers: short, log, clock });
    const by = await port.verifier.verify(admin());
    const one = { issuer, issuedBefore: undefined, reason, by, intentEntryId: "" };
    await revocations.revoke({ ...one, tokenId: "bad", subject: "" });
    await revocations.revoke({ ...one, tokenId: "", subject: "alice" });
    clock.advance(3_600_000);
    expect(revocations.list()).toHaveLength(2);
    clock.advance(2 * 60_000);
    expect(revocations.list()).toEqual([]);
    await expect(revocations.revoke({ ...one, tokenId: "b", subject: "" })).resolves.toBeDefined();
  });

  it("a token that would live for longer than revocations are kept is refused", async () => {
    port = await startIdentityPort({ issuers });
    const day = 24 * 60 * 60;
    expect(await doors(token({}, { exp: now() + day }))).toEqual(["OK"]);
    expect(await doors(token({}, { exp: now() + day + 60 }))).toEqual(["TOKEN_INVALID"]);
  });
});

describe("the revocation file", () => {
  const write = (path: string, ...entries: object[]) => {
    writeFileSync(`${path}.new`, JSON.stringify({ revocations: entries }));
    renameSync(`${path}.new`, path);
  };
  const health = () => revocationFileComponents(port.revocations)[0]?.check(AbortSignal.timeout(1000), new Reach([]));

  it("revokes, and again whenever it changes; what is taken out is let in", async () => {
    const file = join(dir, "revoked.yaml");
    writeFileSync(file, `revocations:\n  - { issuer: "${issuer}", token_id: first, reason: leaked }\n`);
    port = await startIdentityPort({ issuers, file });
    const [first, second] = [token({}, { jti: "first" }), token({}, { jti: "second", iat: now() - 60 })];
    expect(await doors(first)).toEqual(["TOKEN_REVOKED"]);
    expect(await doors(second)).toEqual(["OK"]);
    write(file, { issuer, subject: "alice", issued_before: new Date().toISOString(), reason: "stolen" });
    await expect.poll(() => doors(second), { timeout: 10_000 }).toEqual(["TOKEN_REVOKED"]);
    expect((await clientOf().listRevocations({})).revocations).toMatchObject([
      { subject: "alice", source: Source.FILE, revokedBy: "", reason: "stolen" },
    ]);
    write(file);
    await expect.poll(() => doors(second), { timeout: 10_000 }).toEqual(["OK"]);
    expect((await port.entries()).filter(({ action }) => action === "tokens.revocation_file")).toHaveLength(3);
  });

  it.each([
    ["is no YAML", "revocations: ["],
    ["has a key that is not known", JSON.stringify({ revocations: [{ issuer, tokenid: "x", reason: "r" }] })],
    ["has a subject without a moment", JSON.stringify({ revocations: [{ issuer, subject: "x", reason: "r" }] })],
    ["is too large", `# ${"x".repeat(1024 * 1024)}`],
  ])("that %s changes nothing, and health says so until it is mended", async (_, content) => {
    const file = join(dir, "revoked.json");
    write(file, { issuer, token_id: "first", reason: "leaked" });
    port = await startIdentityPort({ issuers, file });
    writeFileSync(file, content);
    await expect.poll(health, { timeout: 10_000 }).toMatchObject({
      status: "degraded",
      message: expect.stringContaining(file),
    });
    expect(await doors(token({}, { jti: "first" }))).toEqual(["TOKEN_REVOKED"]);
    write(file);
    await expect.poll(health, { timeout: 10_000 }).toMatchObject({ status: "healthy" });
  });

  it("that is not there at the start keeps the server from starting", async () => {
    port = await startIdentityPort({ issuers });
    const log = createLog("silent");
    const ledger = createLedger(port.store, log);
    const file = join(dir, "nowhere.yaml");
    await expect(Revocations.open({ store: port.store, ledger, issuers, file, log })).rejects.toThrow(file);
  });
});

describe("a running stream", () => {
  it.each(["grpc", "grpc-web", "connect", "rest"] as const)(
    "by %s ends when its token is revoked",
    async (protocol) => {
      port = await startIdentityPort({ issuers });
      const callId = randomUUID();
      const stream = doorOf(watchWorkflows, protocol).open(port.url, {}, { token: token({}, { jti: "bad" }), callId });
      expect((await stream.next()).done).toBe(false);
      const ending = stream.next();
      await revoke({ subject: "alice" });
      expect(await ending).toMatchObject({ done: true, value: { code: "UNAUTHENTICATED", reason: "TOKEN_REVOKED" } });
      await expect
        .poll(async () => (await port.entries(callId)).map(({ errorReason }) => errorReason))
        .toEqual(["", "TOKEN_REVOKED"]);
    },
  );

  it("ends with PERMISSION_DENIED within 30 s when its caller's roles give the permission no more", async () => {
    let current = new Access(defaultRoles);
    const access = new Proxy(current, {
      get: (_, name) => {
        const value = Reflect.get(current, name);
        return typeof value === "function" ? value.bind(current) : value;
      },
    });
    port = await startIdentityPort({ issuers, access });
    const stream = doorOf(watchWorkflows, "grpc").open(port.url, {}, { token: token() });
    expect((await stream.next()).done).toBe(false);
    const ending = stream.next();
    current = new Access({ ...defaultRoles, sre: { permissions: ["health.read"] } });
    const begin = performance.now();
    expect(await ending).toMatchObject({ done: true, value: { code: "PERMISSION_DENIED", reason: "ROLE_DENIED" } });
    expect(performance.now() - begin).toBeLessThan(30_000);
  });
});
