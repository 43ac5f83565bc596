import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { allStanding, brake, halting, requestMs } from "../../brake.ts";
import { startFakeServer } from "../../fake-server.ts";
import { mctl } from "../../run.ts";

async function get(shown: ReturnType<typeof brake>, ...args: string[]) {
  await using server = await startFakeServer({ brakes: { getBrake: () => ({ brake: shown }) } });
  return await mctl(["brake", "get", "br_1", "--server", server.url, ...args]);
}

test("get shows what it holds, why, until when, who has to approve it, and the receipt so far", async () => {
  const shown = brake({
    selector: { everything: true },
    includeDescendants: false,
    emergency: true,
    ticket: "INC-42",
    expireTime: timestampFromMs(requestMs + 3_600_000),
    approval: { matched: 2_400, tolerance: 24, approveBy: timestampFromMs(requestMs + 900_000) },
    receipt: { ...halting, gates: [{ gate: "refunds-1", attached: false }] },
  });
  const { code, stdout } = await get(shown);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^holds +everything$/m);
  expect(stdout).toMatch(/^ticket +INC-42$/m);
  expect(stdout).toMatch(/^by +alice \(EMERGENCY\), 2026-11-22 08:35:12Z/m);
  expect(stdout).toMatch(/^expires +releases by itself at 2026-11-22 09:35:12Z$/m);
  expect(stdout).toMatch(
    /^approval +NEEDED AFTERWARDS from a second person by 2026-11-22 08:50:12Z, or it is released/m,
  );
  expect(stdout).toMatch(
    /^matched +12: 5 standing, 6 still halting, 1 pending \(not begun, or the engine was not asked yet\)$/m,
  );
  expect(stdout).toMatch(/^accepted +not yet by the engine$/m);
  expect(stdout).toMatch(/^standstill +none seen yet$/m);
  expect(stdout).toMatch(/^in flight +no step when they were caught$/m);
  expect(stdout).toMatch(/^gates +0 of 1 confirmed that they hold\n +NO ANSWER from refunds-1 \(detached\)$/m);
});

test("what could not be reached at first is told beside what came later", async () => {
  const { stdout } = await get(brake({ receipt: { ...allStanding, caughtLater: 1, missedAtFirst: 3 } }));
  expect(stdout).toMatch(
    /^ +caught .*1 after it was engaged, 3 that were open before and could not be reached at first$/m,
  );
});

test("what is not known yet of the steps is not told as none", async () => {
  const { stdout } = await get(brake({ receipt: { ...allStanding, journalsUnread: 150 } }));
  expect(stdout).toMatch(/^NOT KNOWN +the steps of 150: their journals have not been read$/m);
  expect((await get(brake({ receipt: allStanding }))).stdout).not.toMatch(/NOT KNOWN/);
});

test("where nothing was there to hold, no standstill is claimed", async () => {
  const later = { ...allStanding, matched: 2, standing: 2, caughtLater: 2 };
  expect((await get(brake({ receipt: later }))).stdout).toMatch(
    /^all standing +nothing was there when it was engaged$/m,
  );
  const { stdout } = await get(
    brake({ receipt: { requestTime: later.requestTime, allStandingTime: later.requestTime } }),
  );
  expect(stdout).toMatch(/^matched +none yet; what matches later is caught\n$/m);
  expect(stdout).not.toMatch(/standstill|accepted/);
});

test("what people wrote cannot drive the terminal", async () => {
  const { stdout } = await get(brake({ reason: "a\u001b[2Jb\u202e", receipt: allStanding }));
  expect(stdout).toMatch(/^reason +"ab "$/m);
});

test("get -o json is the answer itself", async () => {
  const { stdout } = await get(brake({ receipt: allStanding }), "-o", "json");
  expect(JSON.parse(stdout)).toMatchObject({ brake: { brakeId: "br_1", receipt: { standing: 12, halting: 0 } } });
});
