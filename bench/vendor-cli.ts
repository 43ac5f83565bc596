import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** Restate's own command line, as an operator would use it. */
export interface VendorCli {
  /** Pauses or resumes what the query names; resolves when the command has ended. */
  run(action: "pause" | "resume", query: string, count: number): Promise<void>;
  close(): Promise<void>;
}

/** It speaks TCP only and the embedded engine unix sockets only, so there is a pipe between them. */
export async function openVendorCli(adminSocket: string): Promise<VendorCli> {
  const binary = vendorBinary();
  if (binary === undefined) throw new Error("Restate's CLI is not installed: npm ci --prefix bench");
  const server = createServer((socket) => {
    const upstream = connect(adminSocket);
    socket.pipe(upstream).pipe(socket);
    socket.on("error", () => upstream.destroy());
    upstream.on("error", () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const home = mkdtempSync(join(tmpdir(), "mc-bench-cli-"));
  const env = { HOME: home, DO_NOT_TRACK: "1", RESTATE_ADMIN_URL: `http://127.0.0.1:${port}` };
  return {
    async run(action, query, count) {
      const args = ["invocations", action, query, "--limit", String(count), "--yes", "--request-timeout", "60000"];
      await promisify(execFile)(binary, args, { env, maxBuffer: 64 << 20, timeout: 120_000 });
    },
    async close() {
      await new Promise((resolve) => server.close(resolve));
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** The program; undefined where the package for this platform is not installed: `npm ci --prefix bench` does that. */
export function vendorBinary(): string | undefined {
  try {
    const platform = `${process.platform}-${process.arch}`;
    return createRequire(import.meta.url).resolve(`@restatedev/restate-${platform}/bin/restate`);
  } catch {
    return undefined;
  }
}
