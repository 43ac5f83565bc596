import { afterAll, beforeAll, expect, test } from "vitest";
import { isInvocationId } from "../../../src/engines/restate/sql.ts";
import { startTestEngine, type TestEngine } from "../../fixture/restate.ts";

let engine: TestEngine;
beforeAll(async () => {
  engine = await startTestEngine();
});
afterAll(() => engine?.stop());

test("whatever id the engine gives out is one", async () => {
  const ids = await Promise.all(Array.from({ length: 200 }, () => engine.start("Steps/run", { count: 1, ms: 1 })));
  expect(ids.filter((id) => !isInvocationId(id))).toEqual([]);
});

test.each([
  ["the greatest of 64 and of 128 bits", "inv_1lYGhA16ahyf7N42dgm5tFLK9N8MT7fHC7", true],
  ["a partition key of more than 64 bits", "inv_1lYGhA16ahyg7N42dgm5tFLK9N8MT7fHC7", false],
  ["a UUID of more than 128 bits", "inv_1lYGhA16ahyf7N42dgm5tFLK9N8MT7fHC8", false],
])("%s: taken for an id as the engine does", async (_, id, is) => {
  expect(isInvocationId(id)).toBe(is);
  const answer = await engine.admin("POST", "/query", {
    query: `SELECT id FROM sys_invocation_status WHERE id = '${id}'`,
  });
  expect(answer.status === 200).toBe(is);
});
