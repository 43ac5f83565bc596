import { existsSync } from "node:fs";

/**
 * Starts an entry point: its source in a clone, what was built from it in the published package.
 * @param {string} name the command's name, for the error
 * @param {string} entry path below src/, without the ending
 */
export async function start(name, entry) {
  const source = new URL(`../src/${entry}.ts`, import.meta.url);
  const inClone = existsSync(source);
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (inClone && (major < 22 || (major === 22 && minor < 18))) {
    fail(
      `${name}: this is Node ${process.versions.node}, which cannot run TypeScript sources; 22.18 or newer can.\n` +
        `In this folder, "npx ${name}" takes the pinned Node that "npm ci" installed.`,
    );
  }
  if (!inClone && major < 24) fail(`${name}: this is Node ${process.versions.node}; it needs Node 24 or newer.`);
  await import(inClone ? source.href : new URL(`../dist/src/${entry}.js`, import.meta.url).href);
}

/** @param {string} message */
function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
