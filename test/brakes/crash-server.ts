// A process of its own, to be killed at any moment: loads, waits for a port (0: any) as a line on its standard input, then serves
// until it is killed or its input ends. Arguments: data directory, the engine's admin socket. Prints "loaded", then its port.
import { once } from "node:events";
import { join } from "node:path";
import { RestateEngine } from "../../src/engines/restate.ts";
import { openDevIssuer } from "../../src/identity/dev-issuer.ts";
import { createLog } from "../../src/log.ts";
import { startServer } from "../../src/server.ts";

const [dir = "", socketPath = ""] = process.argv.slice(2);
process.stdin.on("end", () => process.exit(0));
process.stdout.write("loaded\n");
const [port] = await once(process.stdin, "data");
const server = await startServer({
  host: "127.0.0.1",
  port: Number(port),
  databasePath: join(dir, "mission-control.db"),
  policiesDir: join(import.meta.dirname, "../../policies"),
  engines: [new RestateEngine("restate", { socketPath })],
  issuers: [(await openDevIssuer(dir)).config],
  components: [],
  version: "test",
  devMode: true,
  log: createLog("silent"),
  blastRadius: { sre: 3, sre_admin: 1_000 },
});
process.stdout.write(`${server.port}\n`);
