import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import type { CreateGateTokenRequest, RevokeGateTokenRequest } from "../../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { startFakeServer } from "../fake-server.ts";
import { mctl } from "../run.ts";

const made = { gateTokenId: "gt_1", name: "workers", engine: "restate", createdBy: "alice" };
const createTime = timestampFromMs(Date.UTC(2026, 10, 22, 9));

async function startServer() {
  const created: CreateGateTokenRequest[] = [];
  const revoked: RevokeGateTokenRequest[] = [];
  const server = await startFakeServer({
    gateTokens: {
      createGateToken: (request) => {
        created.push(request);
        return { gateToken: made, secret: "mcgt_secret" };
      },
      listGateTokens: () => ({ gateTokens: [{ ...made, createTime, attachedGates: 3 }] }),
      revokeGateToken: (request) => {
        revoked.push(request);
        return { gateToken: made };
      },
    },
  });
  return Object.assign(server, { created, revoked });
}

test("a token is made for an engine and written to stdout alone, so that a pipe takes it", async () => {
  await using server = await startServer();
  const args = ["gate", "token", "create", "workers", "--engine", "restate", "--expires-in", "30d", "--reason", "new"];
  const { code, stdout } = await mctl([...args, "--server", server.url]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "mcgt_secret\n" });
  expect(server.created).toMatchObject([
    { name: "workers", engine: "restate", reason: "new", expiresIn: { seconds: 2_592_000n } },
  ]);
});

test("tokens are listed with their engine and their gates", async () => {
  await using server = await startServer();
  const { stdout } = await mctl(["gate", "token", "list", "--server", server.url]);
  expect(stdout.split("\n")[1]).toMatch(/^workers +restate +3 +2026-11-22 09:00:00Z +alice +when it is revoked +gt_1$/);
});

test.each(["workers", "gt_1"])("a token is revoked by %s", async (name) => {
  await using server = await startServer();
  const { stdout } = await mctl(["gate", "token", "revoke", name, "--reason", "moved", "--server", server.url]);
  expect(stdout).toBe("REVOKED  gate token workers  (gt_1)\n");
  expect(server.revoked).toMatchObject([{ gateTokenId: "gt_1", reason: "moved" }]);
});

test("a name that no token has revokes nothing", async () => {
  await using server = await startServer();
  const { code, stderr } = await mctl([
    ...["gate", "token", "revoke", "other", "--reason", "moved", "--server", server.url],
  ]);
  expect(code).toBe(2);
  expect(stderr).toContain('no gate token is called "other"');
  expect(server.revoked).toEqual([]);
});

test.each([
  ["no engine", ["create", "workers", "--reason", "new"], /--engine/],
  ["no reason to make it", ["create", "workers", "--engine", "restate"], /--reason/],
  ["no reason to revoke it", ["revoke", "workers"], /--reason/],
])("%s is refused before anybody is asked", async (_, args, message) => {
  const { code, stderr } = await mctl(["gate", "token", ...args]);
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
});
