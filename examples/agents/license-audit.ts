import { createHash } from "node:crypto";
import { mkdir, open, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as restate from "@restatedev/restate-sdk";
import { stepOptions } from "./options.ts";
import type { Settings } from "./settings.ts";

/** What the audit found out about one package. */
interface Finding {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly licenseFile: boolean;
  readonly files: number;
  readonly bytes: number;
  /** Over names, sizes and first bytes of the files: two audits of the same tree agree on it. */
  readonly fingerprint: string;
}

const permissive = /^(MIT|ISC|0BSD|BSD-[23]-Clause|Apache-2\.0|BlueOak-1\.0\.0|CC0-1\.0|Unlicense|Python-2\.0)$/;

/** Audits licences and sizes of installed packages, one step per package, and writes a report. */
export function licenseAudit(settings: Settings) {
  return restate.service({
    name: "LicenseAudit",
    handlers: {
      /** Audits `limit` packages (1 to 500, default all) from the `from`-th on, in the order of their names. */
      audit: async (ctx: restate.Context, input?: { from?: number; limit?: number }) => {
        const from = Math.max(0, Math.trunc(input?.from ?? 0));
        const limit = Math.min(500, Math.max(1, Math.trunc(input?.limit ?? 500)));
        const names = await ctx.run("list packages", () => listPackages(settings.packagesDir, from, limit));
        const findings: Finding[] = [];
        for (const name of names) {
          findings.push(await ctx.run(`audit ${name}`, () => auditPackage(settings.packagesDir, name)));
        }
        const file = `license-audit-${ctx.request().id}.md`;
        await ctx.run("write report", async () => {
          await mkdir(settings.workDir, { recursive: true });
          await writeFile(join(settings.workDir, file), report(findings));
        });
        const review = findings.filter((finding) => !permissive.test(finding.license)).map((finding) => finding.name);
        return { packages: findings.length, review, report: file };
      },
    },
    options: stepOptions,
    metadata: { owner: "compliance-team", team: "compliance", risk: "low" },
  });
}

async function listPackages(root: string, from: number, limit: number): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await readdir(root, { withFileTypes: true })) {
    if (!entry.isDirectory() || entry.name.startsWith(".")) continue;
    if (!entry.name.startsWith("@")) names.push(entry.name);
    else for (const scoped of await readdir(join(root, entry.name))) names.push(`${entry.name}/${scoped}`);
  }
  return names.sort().slice(from, from + limit);
}

async function auditPackage(root: string, name: string): Promise<Finding> {
  const folder = join(root, name);
  const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8").catch(() => "{}"));
  const hash = createHash("sha256");
  let files = 0;
  let bytes = 0;
  let licenseFile = false;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const handle = await open(join(entry.parentPath, entry.name));
    try {
      const { size } = await handle.stat();
      const head = await handle.read(Buffer.alloc(Math.min(size, 64 << 10)), 0);
      hash.update(`${entry.name} ${size}\n`).update(head.buffer);
      files++;
      bytes += size;
      licenseFile ||= /^(licen[cs]e|copying)/i.test(entry.name);
    } finally {
      await handle.close();
    }
  }
  const license = typeof manifest.license === "string" ? manifest.license : (manifest.license?.type ?? "unknown");
  return {
    name,
    version: String(manifest.version ?? "unknown"),
    license,
    licenseFile,
    files,
    bytes,
    fingerprint: hash.digest("hex").slice(0, 16),
  };
}

function report(findings: readonly Finding[]): string {
  const total = findings.reduce((sum, finding) => sum + finding.bytes, 0);
  const rows = findings.map(
    ({ name, version, license, licenseFile, files, bytes, fingerprint }) =>
      `| ${name} | ${version} | ${license}${permissive.test(license) ? "" : " (review)"} | ${licenseFile ? "yes" : "no"} | ${files} | ${kib(bytes)} | ${fingerprint} |`,
  );
  return [
    "# Licence audit",
    "",
    `${findings.length} packages, ${kib(total)} KiB.`,
    "",
    "| package | version | licence | licence file | files | KiB | fingerprint |",
    "| --- | --- | --- | --- | ---: | ---: | --- |",
    ...rows,
    "",
  ].join("\n");
}

function kib(bytes: number): string {
  return (bytes / 1024).toFixed(1);
}
