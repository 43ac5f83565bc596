import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { RuleSchema } from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import { Rules } from "../../src/gate/rules.ts";

const refund = { id: "inv_1", type: "RefundAgent", handler: "pay", name: "RefundAgent/pay" };
const mailbox = { id: "inv_2", type: "Inbox", handler: "answer", name: "Inbox/alice/answer" };

/** Which of the two workflows a rule holds. */
function heldBy(...rules: Omit<MessageInitShape<typeof RuleSchema>, "$typeName">[]): string[] {
  const set = new Rules(
    1n,
    rules.map((rule) => create(RuleSchema, { brakeId: "br", ...rule } as MessageInitShape<typeof RuleSchema>)),
  );
  return [refund, mailbox].filter((workflow) => set.brakeOn(workflow) !== undefined).map(({ id }) => id);
}

test("no rules hold nothing; a rule that says nothing holds nothing", () => {
  expect(heldBy()).toEqual([]);
  expect(heldBy({})).toEqual([]);
});

test("by id", () => {
  expect(heldBy({ workflowIds: ["inv_0", "inv_1"] })).toEqual(["inv_1"]);
});

test("new ones: all of them, by type, by handler, by name, by an object's key", () => {
  expect(heldBy({ matchNew: true })).toEqual(["inv_1", "inv_2"]);
  expect(heldBy({ matchNew: true, types: ["Inbox"] })).toEqual(["inv_2"]);
  expect(heldBy({ matchNew: true, handlers: ["RefundAgent/pay", "Inbox/read"] })).toEqual(["inv_1"]);
  expect(heldBy({ matchNew: true, namePrefix: "Refund" })).toEqual(["inv_1"]);
  expect(heldBy({ matchNew: true, types: ["Inbox"], namePrefix: "Inbox/alice/" })).toEqual(["inv_2"]);
  expect(heldBy({ matchNew: true, types: ["Inbox"], namePrefix: "Inbox/bob/" })).toEqual([]);
});

test("all of the fields that are set have to match, but an id is enough", () => {
  expect(heldBy({ matchNew: true, types: ["RefundAgent"], handlers: ["Inbox/answer"] })).toEqual([]);
  expect(heldBy({ matchNew: true, types: ["RefundAgent"], handlers: ["RefundAgent/pay"] })).toEqual(["inv_1"]);
  expect(heldBy({ matchNew: true, types: ["RefundAgent"], workflowIds: ["inv_2"] })).toEqual(["inv_1", "inv_2"]);
});

test("without match_new, the fields hold nothing", () => {
  expect(heldBy({ types: ["RefundAgent"], workflowIds: ["inv_2"] })).toEqual(["inv_2"]);
});

test("several rules: one is enough, and it is named", () => {
  const rule = (brakeId: string, more: object) => create(RuleSchema, { brakeId, matchNew: true, ...more });
  const rules = new Rules(1n, [
    rule("br_bob", { types: ["Inbox"], namePrefix: "Inbox/bob/" }),
    rule("br_alice", { types: ["Inbox"], namePrefix: "Inbox/alice/" }),
  ]);
  expect(rules.brakeOn(mailbox)).toBe("br_alice");
  expect(rules.brakes).toBe(2);
});
