import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  GetWorkflowResponseSchema,
  GetWorkflowTraceResponseSchema,
  WatchWorkflowsResponse_Kind as Kind,
  ListWorkflowsResponseSchema,
  type MissionControl,
} from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { TraceEntry_Outcome as Outcome } from "../../gen/missioncontrol/v1/workflow_pb.ts";
import type { Feed, FeedEvent } from "../brakes/feed.ts";
import type { WorkflowFilter, Workflows } from "../brakes/workflows.ts";
import { MissionControlError } from "../errors.ts";
import { reachOf } from "../interceptors/authorize.ts";
import { callerOf, targetOf } from "./caller.ts";
import type { ControlService } from "./control.ts";
import type { HealthService } from "./health.ts";

const defaults = { listPage: 50, tracePage: 1000 } as const;

/** The MissionControl service: translate, call, translate. */
export function missionControlService(deps: {
  workflows: Workflows;
  feed: Feed;
  control: ControlService;
  health: HealthService;
}): ServiceImpl<typeof MissionControl> {
  const { workflows, feed, control, health } = deps;
  return {
    async listWorkflows(request, context) {
      const page = await workflows.list(
        {
          ...filterOf(request),
          createdAfter: request.createdAfter && timestampDate(request.createdAfter),
          createdBefore: request.createdBefore && timestampDate(request.createdBefore),
        },
        request.pageSize || defaults.listPage,
        request.pageToken,
        context.signal,
        reachOf(callerOf(context).call),
      );
      return create(ListWorkflowsResponseSchema, page);
    },

    getWorkflow(_request, context) {
      // Looked up for the policy a moment ago: that is the answer.
      return create(GetWorkflowResponseSchema, { workflow: targetOf(callerOf(context).call) });
    },

    async getWorkflowTrace(request, context) {
      const { call } = callerOf(context);
      const workflow = targetOf(call);
      const entries = await workflows.trace(workflow.workflowId, context.signal, reachOf(call));
      const from = traceOffset(request.pageToken);
      const to = from + (request.pageSize || defaults.tracePage);
      return create(GetWorkflowTraceResponseSchema, {
        workflow,
        entries: entries.slice(from, to),
        // What it was given is told once, beside its entry.
        inFlight: entries
          .filter((entry) => entry.outcome === Outcome.IN_FLIGHT)
          .map((entry) => ({ ...entry, inputs: "" })),
        nextPageToken: to < entries.length ? String(to) : "",
      });
    },

    async *watchWorkflows(request, context) {
      const reach = reachOf(callerOf(context).call);
      for await (const event of feed.watch(filterOf(request), request.resumeToken, context.signal, reach)) {
        yield {
          kind: eventKinds[event.kind],
          ...(event.workflow ? { workflow: event.workflow } : {}),
          resumeToken: event.resumeToken,
          unreachableEngines: [...event.unreachableEngines],
          eventTime: timestampFromMs(Date.now()),
        };
      }
    },

    pauseWorkflow: (request, context: HandlerContext) => control.pause(request, context),
    resumeWorkflow: (request, context: HandlerContext) => control.resume(request, context),
    getHealth: (_request, context) => health.report(reachOf(callerOf(context).call), context.signal),
  };
}

const eventKinds: Record<FeedEvent["kind"], Kind> = {
  snapshotBegin: Kind.SNAPSHOT_BEGIN,
  snapshot: Kind.SNAPSHOT,
  snapshotEnd: Kind.SNAPSHOT_END,
  changed: Kind.CHANGED,
  heartbeat: Kind.HEARTBEAT,
};

function filterOf(request: {
  status: WorkflowFilter["statuses"][number][];
  type: string[];
  engine: string[];
  label: string[];
}): WorkflowFilter {
  return { statuses: request.status, types: request.type, engines: request.engine, labels: request.label };
}

/** A position in the timeline: entries may still come before it where clocks differ, so a page may overlap the last one. */
function traceOffset(token: string): number {
  if (token === "") return 0;
  const offset = Number(token);
  if (/^\d{1,9}$/.test(token)) return offset;
  throw new MissionControlError("INVALID_PAGE_TOKEN", "this page_token is not of a trace: begin without one", {
    violations: [{ field: "page_token", description: "not given out for a trace" }],
  });
}
