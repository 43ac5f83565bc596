import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Brakes } from "../gen/missioncontrol/v1/brakes_pb.ts";
import { HeldWorkflows } from "../src/gate/held-workflows.ts";
import { defaultLinkLimits, Link } from "../src/gate/link.ts";
import { Reports } from "../src/gate/reports.ts";
import { type Figure, median, percentile } from "./bench.ts";
import type { Doors } from "./gate-process.ts";

/** Gates that attach at a time. */
const wave = 50;
/** So long a brake waits for its gates, s: longer than it takes. */
const gateWait = 30n;

/** From the call of EngageBrake until each of so many attached gates, all of them in this process, has applied the brake. */
export async function propagationFigures(
  { url, token, gateToken }: Doors,
  count: number,
  repeat: number,
): Promise<Figure[]> {
  const brakes = createClient(Brakes, createGrpcTransport({ baseUrl: url }));
  const options = { headers: { authorization: `Bearer ${token}` } };
  /** Is told of each set that a gate has applied, by how many brakes it is of. */
  let applied = (_brakes: number) => {};
  let lost: Error | undefined;
  /** When each gate had applied a set of so many brakes. */
  const all = (standing: number): Promise<number[]> => {
    const { promise, resolve } = Promise.withResolvers<number[]>();
    const times: number[] = [];
    applied = (brakes) => {
      if (brakes === standing && times.push(performance.now()) === count) resolve(times);
    };
    return promise;
  };
  const links: Link[] = [];
  const attach = (n: number) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const link = new Link({
      url,
      token: () => gateToken,
      gate: `bench-${n}`,
      engine: "attached",
      types: [],
      held: new HeldWorkflows(),
      reports: new Reports(1_000),
      limits: defaultLinkLimits,
      apply: (rules) => {
        resolve();
        applied(rules.brakes);
        return 0;
      },
      lost: (error) => {
        lost = error;
      },
    });
    links.push(link);
    return promise;
  };
  try {
    for (let n = 0; n < count; n += wave) {
      await Promise.all(Array.from({ length: Math.min(wave, count - n) }, (_, i) => attach(n + i)));
    }
    const ms: number[] = [];
    const answers: number[] = [];
    for (let round = 0; round < repeat; round++) {
      const held = all(1);
      const began = performance.now();
      const { brake } = await brakes.engageBrake(
        { selector: { types: ["RefundAgent"] }, reason: "bench", gateWait: { seconds: gateWait, nanos: 0 } },
        options,
      );
      answers.push(performance.now() - began);
      const confirmed = brake?.receipt?.gates.filter(({ ackTime }) => ackTime !== undefined).length;
      if (confirmed !== count) throw new Error(`${confirmed} of ${count} gates have confirmed: ${lost?.message}`);
      ms.push(...(await held).map((time) => time - began));
      const free = all(0);
      await brakes.releaseBrake({ brakeId: brake?.brakeId ?? "", reason: "bench over" }, options);
      await free;
    }
    return [
      { name: "attached gates", value: count, unit: "count" },
      { name: "a brake until a gate has applied it, p50", value: percentile(ms, 50), unit: "ms" },
      { name: "a brake until a gate has applied it, p99", value: percentile(ms, 99), unit: "ms" },
      { name: "a brake until all have confirmed it", value: median(answers), unit: "ms" },
    ];
  } finally {
    await Promise.all(links.map((link) => link.close()));
  }
}
