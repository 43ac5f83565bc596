import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import {
  type FollowAuditEntriesRequest,
  type ListAuditEntriesRequest,
  AuditEntry_Phase as Phase,
  AuditEntry_Verdict as Verdict,
} from "../../../gen/missioncontrol/v1/audit_log_pb.ts";
import type { EraseSubjectRequest } from "../../../gen/missioncontrol/v1/audit_personal_pb.ts";
import { startFakeServer } from "../fake-server.ts";
import { mctl, start } from "../run.ts";

test("audit list shows who did what to which workflow, denials too", async () => {
  const time = timestampFromMs(Date.UTC(2026, 10, 22, 8, 35, 12));
  await using server = await startFakeServer({
    auditLog: {
      listAuditEntries: () => ({
        entries: [
          {
            sequence: 3n,
            time,
            phase: Phase.DENIED,
            principal: { subject: "mallory" },
            action: "runtime.pause",
            target: "restate:inv_1",
            resultCode: "PERMISSION_DENIED",
            errorReason: "ROLE_DENIED",
            message: "viewer may not pause",
          },
          { sequence: 2n, time, phase: Phase.SYSTEM, action: "brake.standstill", message: "stands" },
          { sequence: 1n, time, phase: Phase.INTENT, principal: { subject: "alice" }, reason: "why", emergency: true },
        ],
      }),
    },
  });
  const { code, stdout } = await mctl(["audit", "list", "--server", server.url]);
  expect(code).toBe(0);
  const [, denied, system, intent] = stdout.split("\n");
  expect(denied).toMatch(
    /^3 +2026-11-22 08:35:12Z +DENIED +mallory +runtime\.pause +ROLE_DENIED +restate:inv_1 +viewer may not pause$/,
  );
  expect(system).toMatch(/^2 .* SYSTEM +\(system\) +brake\.standstill +stands$/);
  expect(intent).toMatch(/^1 .* INTENT +alice +EMERGENCY "why"$/);
});

test("all filters reach the server, and JSON is one object", async () => {
  let request: ListAuditEntriesRequest | undefined;
  await using server = await startFakeServer({
    auditLog: {
      listAuditEntries: (req) => {
        request = req;
        return { entries: [{ sequence: 1n, phase: Phase.READ }] };
      },
    },
  });
  const filters = ["--subject", "alice", "--action", "runtime.pause,runtime.resume", "--target", "restate:inv_1"];
  const last = ["--request-id", "r1", "--brake", "br_1", "--verdict", "refused"];
  const more = [...last, "--phase", "intent", "--phase", "OUTCOME", "--call-id", "c1", "--since", "1d", "--limit", "5"];
  const { stdout } = await mctl(["audit", "list", "-o", "json", "--server", server.url, ...filters, ...more]);
  expect(request).toMatchObject({
    subject: "alice",
    action: ["runtime.pause", "runtime.resume"],
    target: "restate:inv_1",
    phase: [Phase.INTENT, Phase.OUTCOME],
    callId: "c1",
    requestId: "r1",
    brakeId: "br_1",
    verdict: Verdict.REFUSED,
    pageSize: 5,
  });
  expect(request?.since).toBeDefined();
  expect(JSON.parse(stdout).entries).toMatchObject([{ sequence: "1", phase: "READ" }]);
});

test("audit list --follow shows what there is and what comes, each once and in order, across an outage", async () => {
  const requests: FollowAuditEntriesRequest[] = [];
  const told = (sequence: bigint, action: string) => ({ sequence, phase: Phase.INTENT, action });
  await using server = await startFakeServer({
    auditLog: {
      listAuditEntries: () => ({ entries: [told(2n, "runtime.resume"), told(1n, "runtime.pause")] }),
      followAuditEntries: async function* (request, { signal }) {
        requests.push(request);
        yield { after: request.after ?? 0n };
        if (requests.length === 1) {
          yield { entry: told(4n, "runtime.brake"), after: 4n };
          // Looked through without a match: it goes on behind that.
          yield { after: 9n };
          throw new ConnectError("restarting", Code.Unavailable);
        }
        yield { entry: told(10n, "gate_token.create"), after: 10n };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    },
  });
  const { child, sees, finished } = start(["audit", "list", "--follow", "--phase", "INTENT", "--server", server.url]);
  await sees(/gate_token/);
  child.kill("SIGINT");
  const { code, stdout } = await finished;
  expect(code).toBe(0);
  const actions = [...stdout.matchAll(/\w+\.\w+/g)].map(([action]) => action);
  expect(actions).toEqual(["runtime.pause", "runtime.resume", "runtime.brake", "gate_token.create"]);
  expect(requests.map(({ after }) => after)).toEqual([2n, 9n]);
  expect(requests.every(({ phase }) => phase[0] === Phase.INTENT)).toBe(true);
});

test("audit erase asks for the person's name once more, and tells what it erased and what stays", async () => {
  let request: EraseSubjectRequest | undefined;
  await using server = await startFakeServer({
    auditLog: {
      eraseSubject: (req) => {
        request = req;
        return { erasedEntries: 12n, erasedBrakes: 1n, keptBrakeIds: ["br_9"], auditEntryId: "ae_1" };
      },
    },
  });
  const erase = ["audit", "erase", "--subject", "alice", "--reason", "she left", "--server", server.url];
  const unsure = await mctl(erase);
  expect(unsure.code).toBe(2);
  expect(unsure.stderr).toContain("--confirm alice");
  expect(request).toBeUndefined();
  const { code, stdout, stderr } = await mctl([...erase, "--confirm", "alice"]);
  expect(code).toBe(0);
  expect(request).toMatchObject({ subject: "alice", reason: "she left" });
  expect(stdout).toMatch(/12 entries/);
  expect(stderr).toContain("br_9");
});
