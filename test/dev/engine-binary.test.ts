import { accessSync, constants } from "node:fs";
import { expect, test } from "vitest";
import { engineBinary } from "../../src/dev/engine-binary.ts";

test("the platform's package holds an executable", () => {
  accessSync(engineBinary(), constants.X_OK);
});

test("an unsupported platform is told which ones are supported", () => {
  expect(() => engineBinary("win32", "x64")).toThrow(/does not run on win32-x64, only on linux-x64, .*WSL 2/);
});

test("a package that is not installed is told how to install", () => {
  const other = process.platform === "darwin" ? "linux" : "darwin";
  expect(() => engineBinary(other, "arm64")).toThrow(
    /restate-server-\w+-arm64.* not installed.*npm ci --include=optional/,
  );
});
