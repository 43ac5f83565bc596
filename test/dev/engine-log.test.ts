import { PassThrough } from "node:stream";
import { pino } from "pino";
import { expect, test } from "vitest";
import { forwardEngineLog } from "../../src/dev/engine-log.ts";

function capture(level: string) {
  const out = new PassThrough();
  const forward = forwardEngineLog(pino<never>({ level }, out));
  return {
    forward,
    lines: () =>
      String(out.read() ?? "")
        .trim()
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line)),
  };
}

const line = (level: string, target: string, message: string) => JSON.stringify({ level, target, fields: { message } });

test("warnings of the engine are warnings, its news and the agents' failed attempts are for debugging", () => {
  const { forward, lines } = capture("warn");
  forward(line("INFO", "restate_server", "Starting"));
  forward(line("WARN", "restate_invoker_impl", "step failed"));
  forward(line("WARN", "restate_node", "disk is slow"));
  forward("thread 'main' panicked");
  expect(lines().map(({ msg }) => msg)).toEqual(["engine: disk is slow", "engine: thread 'main' panicked"]);
});

test("an engine that logs without end is cut short", () => {
  const { forward, lines } = capture("warn");
  for (let i = 0; i < 500; i++) forward(line("ERROR", "restate_node", "no luck"));
  expect(lines()).toHaveLength(50);
});
