import { describe, expect, it } from "vitest";
import { MissionControl } from "../../../gen/missioncontrol/v1/mission_control_pb.ts";
import { bindingsOf, RouteTable } from "../../../src/http/transcoder/routes.ts";

const table = new RouteTable(MissionControl.methods.flatMap(bindingsOf));

function match(httpMethod: string, path: string): [string, string[]] | undefined {
  const found = table.match(httpMethod, path);
  return found && [found.binding.method.name, [...found.variables.values()]];
}

describe("the route table", () => {
  it("finds every binding, the additional ones too", () => {
    expect(match("GET", "/v1/workflows")).toEqual(["ListWorkflows", []]);
    expect(match("GET", "/v1/workflows/w")).toEqual(["GetWorkflow", ["w"]]);
    expect(match("GET", "/v1/workflows/w/trace")).toEqual(["GetWorkflowTrace", ["w"]]);
    expect(match("POST", "/v1/workflows/w/pause")).toEqual(["PauseWorkflow", ["w"]]);
    expect(match("POST", "/v1/workflows/w:pause")).toEqual(["PauseWorkflow", ["w"]]);
    expect(match("POST", "/v1/workflows/w:resume")).toEqual(["ResumeWorkflow", ["w"]]);
    expect(match("GET", "/v1/events")).toEqual(["WatchWorkflows", []]);
  });

  it("tries what follows the last colon as a verb first, else takes it as data", () => {
    expect(match("POST", "/v1/workflows/restate:inv_1:pause")).toEqual(["PauseWorkflow", ["restate:inv_1"]]);
    expect(match("GET", "/v1/workflows/restate:inv_1")).toEqual(["GetWorkflow", ["restate:inv_1"]]);
    expect(match("GET", "/v1/workflows/restate:pause")).toEqual(["GetWorkflow", ["restate:pause"]]);
    expect(match("POST", "/v1/workflows/restate:inv_1/pause")).toEqual(["PauseWorkflow", ["restate:inv_1"]]);
    expect(match("POST", "/v1/workflows/a%3Apause")).toBeUndefined();
  });

  it("takes HEAD as GET", () => {
    expect(match("HEAD", "/v1/workflows/w")).toEqual(["GetWorkflow", ["w"]]);
  });

  it("tells which methods a path knows", () => {
    expect(table.allow("/v1/workflows")).toEqual(["GET", "HEAD", "OPTIONS"]);
    expect(table.allow("/v1/workflows/w/pause")).toEqual(["OPTIONS", "POST"]);
    expect(table.allow("/v1/workflows/w:pause")).toEqual(["GET", "HEAD", "OPTIONS", "POST"]);
    expect(table.allow("/v1/nothing")).toEqual([]);
    expect(table.allow("*")).toEqual([]);
  });
});
