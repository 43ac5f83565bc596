import { execFileSync } from "node:child_process";

/** Exits 1 where the protos break what the last release promised. `node tools/breaking.ts` */
const tags = execFileSync("git", ["tag", "--list", "v*", "--sort=-v:refname", "--merged"], { encoding: "utf8" });
const [release] = tags.split("\n");
if (release) execFileSync("buf", ["breaking", "--against", `.git#tag=${release}`], { stdio: "inherit" });
