import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import type { RevokeTokensRequest } from "../../../../gen/missioncontrol/v1/revocations_pb.ts";
import { startFakeServer } from "../../fake-server.ts";
import { mctl, temporaryFolder } from "../../run.ts";

async function startServer() {
  const asked: RevokeTokensRequest[] = [];
  const server = await startFakeServer({
    revocations: {
      revokeTokens: (request) => {
        asked.push(request);
        const { issuer, tokenId, subject } = request;
        const issuedBefore = timestampFromMs(Date.UTC(2026, 10, 22, 8));
        return { revocation: { issuer, tokenId, subject, ...(subject !== "" && { issuedBefore }) } };
      },
    },
  });
  return Object.assign(server, { asked });
}

test("a token in a file is revoked by its issuer and id; the token itself stays here", async () => {
  await using server = await startServer();
  const cwd = temporaryFolder();
  const claims = Buffer.from('{"iss":"https://login.example.com","jti":"t-1","secret":"s"}').toString("base64url");
  writeFileSync(join(cwd, "leaked.jwt"), `aaa.${claims}.bbb\n`);
  const args = ["token", "revoke", "--jwt", "leaked.jwt", "--reason", "leaked", "--server", server.url];
  const { code, stdout } = await mctl(args, { cwd });
  expect({ code, stdout }).toEqual({ code: 0, stdout: "REVOKED  token t-1  (https://login.example.com)\n" });
  expect(server.asked).toMatchObject([
    { issuer: "https://login.example.com", tokenId: "t-1", subject: "", reason: "leaked" },
  ]);
  expect(server.asked[0]?.issuedBefore).toBeUndefined();
});

test("all tokens of somebody are revoked, up to a moment", async () => {
  await using server = await startServer();
  const who = ["--issuer", "https://login.example.com", "--subject", "alice", "--issued-before", "2026-11-22T08:00Z"];
  const { stdout } = await mctl(["token", "revoke", ...who, "--reason", "stolen", "--server", server.url]);
  expect(stdout).toContain("tokens of alice that were issued before 2026-11-22T08:00:00.000Z");
  const [request] = server.asked;
  expect(request).toMatchObject({ subject: "alice", tokenId: "" });
  expect(request?.issuedBefore && timestampMs(request.issuedBefore)).toBe(Date.UTC(2026, 10, 22, 8));
});

test.each([
  ["neither a token nor a subject", ["--issuer", "a", "--reason", "r"], /say which tokens/],
  ["both", ["--issuer", "a", "--id", "1", "--subject", "b", "--reason", "r"], /say which tokens/],
  ["no issuer", ["--id", "1", "--reason", "r"], /--issuer/],
  [
    "a moment for one token",
    ["--issuer", "a", "--id", "1", "--issued-before", "1h", "--reason", "r"],
    /goes with --subject/,
  ],
  ["no reason", ["--issuer", "a", "--id", "1"], /--reason/],
  ["a file that is none", ["--jwt", "nowhere.jwt", "--reason", "r"], /cannot read the token's file/],
])("%s is refused before anybody is asked", async (_, args, message) => {
  const { code, stderr } = await mctl(["token", "revoke", ...args]);
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
});

test("what is revoked is listed, with its reason; JSON is one object", async () => {
  const issuer = "https://login.example.com";
  const revokeTime = timestampFromMs(Date.UTC(2026, 10, 22, 9));
  await using server = await startFakeServer({
    revocations: {
      listRevocations: () => ({
        revocations: [
          { issuer, tokenId: "t-1", reason: "leaked", revokedBy: "root", revokeTime, source: 1 },
          { issuer, subject: "alice", issuedBefore: revokeTime, reason: "stolen", revokeTime, source: 2 },
        ],
      }),
    },
  });
  const { stdout } = await mctl(["token", "revocations", "--server", server.url]);
  const [, token, subject] = stdout.split("\n");
  expect(token).toMatch(/^2026-11-22 09:00:00Z +root +t-1 +https:\/\/login\.example\.com +leaked$/);
  expect(subject).toMatch(/ \(file\) +of alice, issued before 2026-11-22 09:00:00Z +https.* stolen$/);
  const json = await mctl(["token", "revocations", "-o", "json", "--server", server.url]);
  expect(JSON.parse(json.stdout).revocations).toMatchObject([{ tokenId: "t-1", source: "CALL" }, { source: "FILE" }]);
});
