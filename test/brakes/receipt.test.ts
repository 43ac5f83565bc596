import { expect, test } from "vitest";
import { fleetReceipt } from "../../src/brakes/receipt.ts";
import { brake, hold } from "../store/entry.ts";

const reached = { away: [], hidden: false };

test("of what stood before its journal was read, the steps are told as not known, not as none", () => {
  const stood = { ...hold().halt, standstillTime: 1_700_000_000_002 };
  const steps = { inFlight: [], startedAfterAccept: 1, hidesStep: false };
  const holds = [
    hold({ workflowId: "restate:inv_read", halt: { ...stood, steps } }),
    hold({ workflowId: "restate:inv_unread", halt: stood }),
  ];
  expect(fleetReceipt(brake(), holds, new Set(), reached)).toMatchObject({
    journalsUnread: 1,
    stepsStartedAfterAccept: 1,
  });
});
