import { parseArgs } from "node:util";
import { type Bench, isMet } from "./bench.ts";
import { chain } from "./chain.ts";
import { crash } from "./crash.ts";
import { fleetHold } from "./fleet-hold.ts";
import { gate } from "./gate.ts";
import { ledger } from "./ledger.ts";
import { pauseOne } from "./pause-one.ts";
import { type Measured, toJson, toTable } from "./report.ts";
import { verify } from "./verify.ts";

const benches: readonly Bench[] = [fleetHold, pauseOne, ledger, verify, crash, chain, gate];

const usage = `Usage: npm run bench -- [options] [name…]

Measures Mission Control against what does the same without it, side by side in one run. Without a name: all of them.

${benches.map(({ name, about }) => `  ${name.padEnd(12)} ${about}`).join("\n")}

Options
  --workflows <n>   how many workflows a fleet has, 1 to 100000 (default 10000)
  --repeat <n>      how often each thing is measured, 1 to 100 (default 3); figures are medians
  --output <form>   table or json (default table)
  --list            the names
  --help            show this
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    workflows: { type: "string", default: "10000" },
    repeat: { type: "string", default: "3" },
    output: { type: "string", default: "table" },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const unknown = positionals.filter((name) => !benches.some((bench) => bench.name === name));
const faults = [
  ...unknown.map((name) => `there is no bench "${name}": they are ${benches.map((bench) => bench.name).join(", ")}`),
  ...(["table", "json"].includes(values.output) ? [] : [`--output is table or json, not "${values.output}"`]),
];
const size = {
  workflows: numberOf("--workflows", values.workflows, 100_000),
  repeat: numberOf("--repeat", values.repeat, 100),
};

if (values.help) process.stdout.write(usage);
else if (values.list) process.stdout.write(`${benches.map(({ name }) => name).join("\n")}\n`);
else if (faults.length > 0) {
  process.stderr.write(`${faults.join("\n")}\n`);
  process.exitCode = 2;
} else {
  const chosen = benches.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const measured: Measured[] = [];
  for (const bench of chosen) {
    const figures = await bench.run(size, (line) => process.stderr.write(`${bench.name}: ${line}\n`));
    measured.push({ bench: bench.name, figures });
  }
  process.stdout.write(values.output === "json" ? toJson(size, measured) : toTable(size, measured));
  // A target that was missed is told, not an error: machines differ.
  const missed = measured.flatMap(({ figures }) => figures).filter((figure) => isMet(figure) === false);
  if (missed.length > 0) process.stderr.write(`${missed.length} figures miss their targets\n`);
}

function numberOf(flag: string, text: string, most: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > most) {
    faults.push(`${flag} is a whole number from 1 to ${most}, not "${text}"`);
  }
  return value;
}
