import { expect, test } from "vitest";
import type { Call } from "../../src/interceptors/context.ts";
import { questionOf } from "../../src/interceptors/question.ts";

const call: Call = {
  id: "call-1",
  protocol: "grpc",
  method: "missioncontrol.v1.MissionControl/PauseWorkflow",
  startTime: 0,
  source: "127.0.0.1",
  clientCertificateThumbprint: undefined,
  audited: false,
  principal: {
    issuer: "https://login.example.com",
    subject: "alice",
    roles: ["sre"],
    tokenId: "t",
    issueTime: 0,
    expireTime: 0,
    authenticationMethod: "jwt",
  },
};

test("policy, be it somebody else's, is told of no token that was pasted into a reason or a ticket", () => {
  const token = `mcgt_${"a".repeat(43)}`;
  const asked = { action: "runtime.pause", workflow: undefined, emergency: false };
  const question = questionOf(call, { ...asked, reason: `with ${token}`, ticket: token });
  expect(question).toMatchObject({ reason: "with (token)", ticket: "(token)", principal: { subject: "alice" } });
  expect(questionOf(call, { ...asked, reason: "INC-42" })).not.toHaveProperty("ticket");
});
