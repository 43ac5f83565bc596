import { expect, test } from "vitest";
import { HeldWorkflows } from "../../src/gate/held-workflows.ts";

test("each workflow is reported once, the oldest first, in parts", () => {
  const held = new HeldWorkflows();
  for (const id of ["a", "b", "a", "c"]) held.add(id);
  expect(held.take(2)).toEqual({ workflowIds: ["a", "b"], incomplete: false });
  held.add("a");
  expect(held.take(2)).toEqual({ workflowIds: ["c", "a"], incomplete: false });
  expect(held.isEmpty).toBe(true);
});

test("beyond its bound it remembers only that there were more, and says so once", () => {
  const held = new HeldWorkflows(2);
  for (const id of ["a", "b", "a"]) held.add(id);
  expect(held.take(1).incomplete).toBe(false);
  for (const id of ["c", "d", "b"]) held.add(id);
  expect(held.take(9)).toEqual({ workflowIds: ["b", "c"], incomplete: true });
  held.add("e");
  expect(held.take(9)).toEqual({ workflowIds: ["e"], incomplete: false });
});
