import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type AttachRequest,
  type AttachResponse,
  AttachResponseSchema,
  type Gate,
  type Hello,
  type Rule,
  RuleSchema,
} from "../../gen/missioncontrol/gate/v1/gate_pb.ts";
import type { Attachment, RuleSet } from "../brakes/gate-attachment.ts";
import type { GateRule, Gates } from "../brakes/gates.ts";
import { MissionControlError } from "../errors.ts";
import { reachOf } from "../interceptors/authorize.ts";
import { callerOf } from "./caller.ts";
import type { GateReports, Reporting } from "./gate-reports.ts";

/** From the call to its hello, ms. */
const helloMs = 10_000;
/** Of one message: with ids of Restate's length it stays below 1 MB. */
const perMessage = { workflowIds: 20_000, rules: 500 } as const;

/**
 * The Gate service: translate, call, translate.
 * @param reports for the engines whose gates report, by their names.
 */
export function gateService(gates: Gates, reports: ReadonlyMap<string, GateReports>): ServiceImpl<typeof Gate> {
  return {
    async *attach(requests, context) {
      const { call, principal } = callerOf(context);
      const messages = requests[Symbol.asyncIterator]();
      const { gate, engine, types, instance } = await helloOf(messages, context.signal);
      if (engine !== principal.gateEngine) {
        const message = `this gate token is for engine ${principal.gateEngine}, not for ${engine}: make one for it`;
        throw new MissionControlError("GATE_TOKEN_SCOPE", message, { metadata: { engine } });
      }
      if (!reachOf(call).coversEngine(engine)) {
        throw new MissionControlError(
          "ROLE_DENIED",
          `a gate learns what brakes hold on all of its engine: "${engine}" is not within the scope of your roles as a whole`,
          { metadata: { permission: "gates.attach", roles: principal.roles.join(",") } },
        );
      }
      const attachment = gates.attach({ gate, engine, types, instance }, principal.subject, context.signal);
      const reporting = reports.get(engine)?.open((sequence) => attachment.reported(sequence));
      void listen(messages, attachment, reporting);
      try {
        for await (const { set, unchanged, reported } of attachment.sets()) {
          if (unchanged) yield create(AttachResponseSchema, { revision: set.revision, unchanged, reported });
          else yield* messagesOf(set, reported);
        }
      } finally {
        reporting?.end();
        // Where the stream was left in the middle: the gate did not say goodbye.
        attachment.end(new Error("the gate's stream has ended"));
      }
    },
  };
}

async function helloOf(messages: AsyncIterator<AttachRequest>, signal: AbortSignal): Promise<Hello> {
  const late = Promise.withResolvers<never>();
  const fail = () => late.reject(new MissionControlError("INVALID_ARGUMENT", `no hello came within ${helloMs} ms`));
  const timer = setTimeout(fail, helloMs);
  const abort = () => late.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    const first = await Promise.race([messages.next(), late.promise]);
    const message = first.done ? undefined : first.value.message;
    if (message?.case === "hello") return message.value;
    throw new MissionControlError("INVALID_ARGUMENT", "a gate says hello first");
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

/** Takes what the gate says until it says no more; what is wrong with it ends its stay. */
async function listen(
  messages: AsyncIterator<AttachRequest>,
  attachment: Attachment,
  reporting: Reporting | undefined,
): Promise<void> {
  try {
    for (;;) {
      const { value, done } = await messages.next();
      if (done) {
        await reporting?.settled();
        return attachment.end();
      }
      const { message } = value as AttachRequest;
      switch (message.case) {
        case "applied":
          attachment.applied(message.value.revision, message.value.stepsInFlight);
          reporting?.seen();
          break;
        case "held":
          attachment.held(message.value.workflowIds, message.value.incomplete);
          break;
        case "report": {
          const { engine } = attachment.hello;
          const text = `engine ${engine} knows its workflows itself: its gates report nothing of them`;
          if (reporting === undefined) throw new MissionControlError("INVALID_ARGUMENT", text);
          reporting.take(message.value);
          break;
        }
        default:
          throw new MissionControlError("INVALID_ARGUMENT", "a gate says hello once: one stream is one gate");
      }
    }
  } catch (error) {
    attachment.end(error);
  }
}

/** A set in messages of a bounded size. */
function* messagesOf({ revision, rules, time }: RuleSet, reported: bigint): Generator<AttachResponse> {
  const message = (part: Rule[], more: boolean) =>
    create(AttachResponseSchema, { revision, rules: part, time: timestampFromMs(time), more, reported });
  let part: Rule[] = [];
  let ids = 0;
  for (const rule of rules) {
    let from = 0;
    do {
      const workflowIds = rule.workflowIds.slice(from, from + perMessage.workflowIds - ids);
      part.push(ruleOf(rule, workflowIds, from === 0));
      from += workflowIds.length;
      ids += workflowIds.length;
      if (ids >= perMessage.workflowIds || part.length >= perMessage.rules) {
        yield message(part, true);
        [part, ids] = [[], 0];
      }
    } while (from < rule.workflowIds.length);
  }
  yield message(part, false);
}

/** A rule, or a further part of one: that has more ids only, for the first says how new workflows are told. */
function ruleOf(rule: GateRule, workflowIds: string[], first: boolean): Rule {
  const { brakeId, matchNew, types, handlers, namePrefix, labels } = rule;
  if (!first) return create(RuleSchema, { brakeId, workflowIds });
  return create(RuleSchema, {
    brakeId,
    workflowIds,
    matchNew,
    types: [...types],
    handlers: [...handlers],
    namePrefix,
    labels: { ...labels },
  });
}
