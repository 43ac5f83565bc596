import { toBinary } from "@bufbuild/protobuf";
import { type Event, EventSchema } from "../../gen/missioncontrol/gate/v1/gate_pb.ts";

/** Of one report. */
const perReport = { events: 500, bytes: 256 * 1024 } as const;

/** An event with its number. */
interface Numbered {
  readonly sequence: number;
  readonly event: Event;
}

/** Events with consecutive numbers. */
export interface Batch {
  readonly firstSequence: number;
  readonly events: Event[];
}

/**
 * What workflows have done and Mission Control has not acknowledged, in its order. Bounded: beyond, the oldest steps are dropped and
 * counted. Beginnings and ends of workflows are kept for as long as there are steps to drop, so that none is shown as running for ever.
 */
export class Reports {
  readonly #limit: number;
  /** What was the oldest when there was too much, and is no step. All of it is older than the queue. */
  readonly #kept: Numbered[] = [];
  readonly #queue: Numbered[] = [];
  #last = 0;
  #lost = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** How many are not acknowledged. */
  get size(): number {
    return this.#kept.length + this.#queue.length;
  }

  /** How many were dropped, ever. */
  get lost(): number {
    return this.#lost;
  }

  add(event: Event): void {
    this.#queue.push({ sequence: ++this.#last, event });
    while (this.size > this.#limit) {
      const oldest = this.#queue.shift();
      if (oldest !== undefined && isOfWorkflow(oldest.event)) {
        this.#kept.push(oldest);
      } else {
        if (oldest === undefined) this.#kept.shift();
        this.#lost++;
      }
    }
  }

  /** Everything up to this number has arrived. */
  acknowledge(sequence: number): void {
    for (const part of [this.#kept, this.#queue]) part.splice(0, firstAfter(part, sequence));
  }

  /** The oldest ones behind this number, as many as one report takes; undefined: there are none. */
  after(sequence: number): Batch | undefined {
    for (const part of [this.#kept, this.#queue]) {
      const start = firstAfter(part, sequence);
      const first = part[start]?.sequence;
      if (first === undefined) continue;
      const events: Event[] = [];
      let bytes = 0;
      for (const { sequence, event } of part.slice(start, start + perReport.events)) {
        bytes += toBinary(EventSchema, event).length;
        if (sequence !== first + events.length || (bytes > perReport.bytes && events.length > 0)) break;
        events.push(event);
      }
      return { firstSequence: first, events };
    }
    return undefined;
  }
}

function isOfWorkflow({ event }: Event): boolean {
  return event.case === "workflowStarted" || event.case === "workflowEnded";
}

/** The index of the first one with a number above this one. */
function firstAfter(part: readonly Numbered[], sequence: number): number {
  let [low, high] = [0, part.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((part[middle] as Numbered).sequence <= sequence) low = middle + 1;
    else high = middle;
  }
  return low;
}
