import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { type Client, createClient } from "@connectrpc/connect";
import { compressionGzip, createGrpcTransport } from "@connectrpc/connect-node";
import { AuditLog } from "../../gen/missioncontrol/v1/audit_log_pb.ts";
import { Brakes } from "../../gen/missioncontrol/v1/brakes_pb.ts";
import { GateTokens } from "../../gen/missioncontrol/v1/gate_tokens_pb.ts";
import { MissionControl } from "../../gen/missioncontrol/v1/mission_control_pb.ts";
import { openDevIssuer } from "../../src/identity/dev-issuer.ts";

/** The clients of one caller; they outlive the server's processes. */
export interface Caller {
  readonly control: Client<typeof MissionControl>;
  readonly brakes: Client<typeof Brakes>;
  readonly audit: Client<typeof AuditLog>;
  readonly gateTokens: Client<typeof GateTokens>;
}

/** The server as a process that is killed and started again, on the same port and data. */
export interface CrashServer {
  readonly url: string;
  callAs(subject: string, role: string): Promise<Caller>;
  /** Starts it; resolves to true once it serves, to false where it was killed before. */
  start(): Promise<boolean>;
  /** SIGKILL. Resolves once the process is gone. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

interface Process {
  readonly child: ChildProcessByStdio<Writable, Readable, null>;
  /** What it prints, "" once it has ended. */
  readonly line: () => Promise<string>;
  readonly gone: Promise<unknown>;
}

/** Starts the first one, on a port of its own. */
export async function startCrashServer(adminSocket: string): Promise<CrashServer> {
  const dir = mkdtempSync(join(tmpdir(), "mc-crash-"));
  const issuer = await openDevIssuer(dir);
  const load = (): Process => {
    const script = join(import.meta.dirname, "crash-server.ts");
    const child = spawn(process.execPath, [script, dir, adminSocket], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { NODE_COMPILE_CACHE: join(dir, "compiled") },
    });
    child.stdin.on("error", () => {}); // it was killed
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return { child, line: async () => (await lines.next()).value ?? "", gone: once(child, "exit") };
  };
  // One is loaded while the other serves: a restart takes a moment, not a second.
  let serving: Process | undefined;
  let loaded = load();
  let port = "0";
  let stopped = false;

  const start = async () => {
    if (stopped) throw new Error("the test is over");
    serving = loaded;
    loaded = load();
    await serving.line();
    serving.child.stdin.write(port);
    const printed = await serving.line();
    if (printed !== "") port = printed;
    return printed !== "";
  };
  const end = async (process: Process | undefined) => {
    process?.child.kill("SIGKILL");
    await process?.gone;
  };
  if (!(await start())) throw new Error("the server did not start");
  return {
    url: `http://127.0.0.1:${port}`,
    start,
    kill: () => end(serving),
    async callAs(subject, role) {
      const token = await issuer.signDevToken({ subject, roles: [role], expiresIn: 3600 });
      const transport = createGrpcTransport({
        baseUrl: `http://127.0.0.1:${port}`,
        defaultTimeoutMs: 10_000,
        acceptCompression: [compressionGzip],
        interceptors: [
          (next) => (req) => {
            req.header.set("authorization", `Bearer ${token}`);
            return next(req);
          },
        ],
      });
      return {
        control: createClient(MissionControl, transport),
        brakes: createClient(Brakes, transport),
        audit: createClient(AuditLog, transport),
        gateTokens: createClient(GateTokens, transport),
      };
    },
    async stop() {
      stopped = true;
      await Promise.all([end(serving), end(loaded)]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
