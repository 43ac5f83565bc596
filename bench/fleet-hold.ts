import { durationMs } from "@bufbuild/protobuf/wkt";
import { type FleetReceipt, WatchBrakeResponse_Kind as Kind } from "../gen/missioncontrol/v1/brakes_pb.ts";
import { startTestServer, type TestServer } from "../test/fixture/server.ts";
import { type Bench, type Figure, median, rotated } from "./bench.ts";
import { type BenchEngine, startBenchEngine } from "./engine.ts";
import { openVendorCli, vendorBinary } from "./vendor-cli.ts";

const targets = { direct: { atMost: 1.2 }, cli: { atMost: 0.5 } } as const;

/** Times of one fleet held and let go, in ms from the first call. */
interface Times {
  /** Until a count in the engine says that all are paused. */
  readonly hold: number;
  /** Until whoever asked knows it: for us the later of our receipt and the count. */
  readonly holdTold: number;
  /** Until none is paused any more. */
  readonly release: number;
  /** Until whoever asked knows it: for us the later of "the brake is over" and the count. */
  readonly releaseTold: number;
}

interface Contender {
  readonly name: string;
  /** Holds and releases all that run on the engine. */
  run(engine: BenchEngine): Promise<Times>;
}

/** Holds and releases a whole fleet by a brake, by the engine's own batch endpoint, and by the vendor's command line. */
export const fleetHold: Bench = {
  name: "fleet-hold",
  about: "a fleet of awaiting workflows: EngageBrake and ReleaseBrake against the engine's batch endpoint and its CLI",

  async run({ workflows, repeat }, say) {
    const receipts: FleetReceipt[] = [];
    const contenders = [brake((receipt) => receipts.push(receipt)), direct];
    if (vendorBinary() === undefined) say("Restate's CLI is not installed (npm ci --prefix bench): it is left out");
    else contenders.push(vendor);
    const measured = new Map<string, Times[]>(contenders.map(({ name }) => [name, []]));
    for (let round = 0; round < repeat; round++) {
      for (const { name, run } of rotated(contenders, round)) {
        // Each begins with an engine and agents of its own: a fleet that was held before is slower to hold again.
        const engine = await startBenchEngine(workflows);
        try {
          const times = await run(engine);
          measured.get(name)?.push(times);
          say(`${round + 1}/${repeat} ${name}: held in ${shown(times.hold)}, released in ${shown(times.release)}`);
        } finally {
          await engine.stop();
        }
      }
    }
    return [...figuresOf(measured), ...receiptFigures(receipts)];
  },
};

const brake = (keep: (receipt: FleetReceipt) => void): Contender => ({
  name: "brake",
  async run(engine) {
    const server = await startTestServer(engine.adminSocket);
    try {
      const count = engine.ids.length;
      // As one does: look first. It is also what a server that has been running knows of its engine.
      const { matched } = await server.brakes.previewBrake({ selector: { types: ["Awaiting"] } });
      if (matched !== count) throw new Error(`${matched} of ${count} match`);
      const holdTime = stopwatch();
      const engaged = await server.brakes.engageBrake({ selector: { types: ["Awaiting"] }, reason: "bench" });
      const brakeId = engaged.brake?.brakeId ?? "";
      const [inEngine, receipt] = await Promise.all([
        engine.untilPaused(count).then(holdTime),
        untilStanding(server, brakeId).then((receipt) => ({ receipt, at: holdTime() })),
      ]);
      if (receipt.receipt.standing !== count) throw new Error(`${receipt.receipt.standing} of ${count} stand`);
      keep(receipt.receipt);
      const releaseTime = stopwatch();
      await server.brakes.releaseBrake({ brakeId, reason: "bench over" });
      const [moving, over] = await Promise.all([
        engine.untilPaused(0).then(releaseTime),
        untilOver(server, brakeId).then(releaseTime),
      ]);
      return {
        hold: inEngine,
        holdTold: Math.max(inEngine, receipt.at),
        release: moving,
        releaseTold: Math.max(moving, over),
      };
    } finally {
      await server.stop();
    }
  },
});

const direct: Contender = {
  name: "direct",
  // Nobody knows ten thousand ids by heart.
  run: (engine) => commanded(engine, async (action) => engine.batch(action, await engine.open("Awaiting"))),
};

const vendor: Contender = {
  name: "cli",
  async run(engine) {
    const cli = await openVendorCli(engine.adminSocket);
    try {
      return await commanded(engine, (action) => cli.run(action, "Awaiting", engine.ids.length));
    } finally {
      await cli.close();
    }
  },
};

/** Those that only give an order: whoever gave it has to count. */
async function commanded(engine: BenchEngine, order: (action: "pause" | "resume") => Promise<void>): Promise<Times> {
  const holdTime = stopwatch();
  await order("pause");
  await engine.untilPaused(engine.ids.length);
  const hold = holdTime();
  const releaseTime = stopwatch();
  await order("resume");
  await engine.untilPaused(0);
  const release = releaseTime();
  return { hold, holdTold: hold, release, releaseTold: release };
}

async function untilStanding(server: TestServer, brakeId: string): Promise<FleetReceipt> {
  for await (const { brake } of server.brakes.watchBrake({ brakeId })) {
    if (brake?.receipt?.allStandingTime) return brake.receipt;
  }
  throw new Error("the watch ended before all stood");
}

async function untilOver(server: TestServer, brakeId: string): Promise<void> {
  for await (const { kind } of server.brakes.watchBrake({ brakeId })) if (kind === Kind.OVER) return;
  throw new Error("the watch ended before the brake was over");
}

function figuresOf(measured: ReadonlyMap<string, readonly Times[]>): Figure[] {
  const figures: Figure[] = [];
  for (const [phase, told] of [
    ["hold", "holdTold"],
    ["release", "releaseTold"],
  ] as const) {
    const of = (name: string, key: keyof Times) => median((measured.get(name) ?? []).map((times) => times[key]));
    for (const name of measured.keys()) figures.push({ name: `${phase}: ${name}`, value: of(name, phase), unit: "ms" });
    figures.push({ name: `${phase}: brake, told`, value: of("brake", told), unit: "ms" });
    for (const rival of ["direct", "cli"] as const) {
      if (!measured.has(rival)) continue;
      const against = of(rival, told);
      figures.push({
        name: `${phase}: brake / ${rival}`,
        value: of("brake", phase) / against,
        unit: "ratio",
        target: targets[rival],
      });
      figures.push({
        name: `${phase}: brake, told / ${rival}`,
        value: of("brake", told) / against,
        unit: "ratio",
        target: targets[rival],
      });
    }
  }
  return figures;
}

/** What the brake's own receipt says of itself. */
function receiptFigures(receipts: readonly FleetReceipt[]): Figure[] {
  const fields = [
    ["accepted p50", "acceptP50"],
    ["accepted p99", "acceptP99"],
    ["standstill p50", "standstillP50"],
    ["standstill p99", "standstillP99"],
    ["standstill max", "standstillMax"],
  ] as const;
  return fields.map(([name, field]) => ({
    name: `request to ${name}`,
    value: median(receipts.map((receipt) => (receipt[field] ? durationMs(receipt[field]) : Number.NaN))),
    unit: "ms",
  }));
}

function stopwatch(): () => number {
  const began = performance.now();
  return () => performance.now() - began;
}

function shown(value: number): string {
  return `${Math.round(value)} ms`;
}
