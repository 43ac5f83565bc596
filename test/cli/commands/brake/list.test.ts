import { expect, test } from "vitest";
import { Brake_State as State } from "../../../../gen/missioncontrol/v1/brakes_pb.ts";
import { allStanding, brake } from "../../brake.ts";
import { startFakeServer } from "../../fake-server.ts";
import { mctl } from "../../run.ts";

test("list shows state, how many stand, who, why and what, and follows pages", async () => {
  const seen: { state: State[]; pageToken: string }[] = [];
  await using server = await startFakeServer({
    brakes: {
      listBrakes: ({ state, pageToken }) => {
        seen.push({ state, pageToken });
        if (pageToken === "") return { brakes: [brake({ receipt: allStanding })], nextPageToken: "2" };
        const approval = { matched: 2_400 };
        const selector = { everything: true };
        const waiting = { brakeId: "br_2", state: State.AWAITING_APPROVAL, emergency: true, approval, selector };
        return { brakes: [brake(waiting)] };
      },
    },
  });
  const args = ["brake", "list", "--server", server.url, "--state", "engaged,AWAITING_APPROVAL"];
  const { code, stdout, stderr } = await mctl([...args, "--all"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const state = [State.ENGAGED, State.AWAITING_APPROVAL];
  expect(seen).toMatchObject([
    { state, pageToken: "" },
    { state, pageToken: "2" },
  ]);
  expect(stdout.split("\n")).toEqual([
    expect.stringMatching(/^BRAKE +STATE +AGE +STANDING +BY +WHY +HOLDS$/),
    expect.stringMatching(
      /^br_1 +ENGAGED +\S+ +12\/12 +alice +"pays twice, INC-42" +type RefundAgent, label risk=high$/,
    ),
    expect.stringMatching(/^br_2 +AWAITING_APPROVAL +\S+ +0\/2400 +alice +EMERGENCY "pays twice, INC-42" +everything$/),
    "",
  ]);
  const json = await mctl([...args, "--limit", "1", "-o", "json"]);
  expect(JSON.parse(json.stdout)).toMatchObject({ brakes: [{ brakeId: "br_1" }], nextPageToken: "2" });
});

test("where there is none, it says so", async () => {
  await using server = await startFakeServer({ brakes: { listBrakes: () => ({}) } });
  expect(await mctl(["brake", "list", "--server", server.url])).toEqual({
    code: 0,
    stdout: "",
    stderr: "No brake matches.\n",
  });
});
