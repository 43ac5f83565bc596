import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterEach, describe, expect, it } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/grpc/health/v1/health_pb.ts";
import { type Fixture, startPort } from "./fixture.ts";
import { grpcClient } from "./grpc-js.ts";

const { check, list, watch } = Health.method;
const service = "missioncontrol.v1.MissionControl";

describe("grpc.health.v1", () => {
  let f: Fixture;
  let reasons: string[] = [];
  const ready = () => (reasons.length === 0 ? (true as const) : reasons);
  afterEach(async () => {
    reasons = [];
    await f.port.close(0);
  });

  it("answers Check without a token and without the ledger, for the server and each service", async () => {
    f = await startPort({ ready });
    const grpc = grpcClient(f.url);
    for (const name of ["", service, "missioncontrol.v1.AuditLog", "grpc.reflection.v1.ServerReflection"]) {
      expect((await grpc.unary(check, { service: name }, {})).message.status).toBe(Status.SERVING);
    }
    reasons = ["the ledger is down"];
    expect((await grpc.unary(check, { service }, {})).message.status).toBe(Status.NOT_SERVING);
    await expect(grpc.unary(check, { service: "no.Such" }, {})).rejects.toMatchObject({ code: 5 });
    grpc.close();
    expect(f.chained).toEqual([]);
    expect(f.refused).toEqual([]);
  });

  it("answers List with all services", async () => {
    f = await startPort({ ready });
    const client = createClient(
      Health,
      createConnectTransport({ baseUrl: f.url, httpVersion: "1.1", acceptCompression: [] }),
    );
    const { statuses } = await client.list({});
    expect(statuses[service]?.status).toBe(Status.SERVING);
    expect(Object.keys(statuses)).toContain("");
    expect(list.name).toBe("List");
  });

  it("shows changes on Watch", async () => {
    f = await startPort({ ready });
    const grpc = grpcClient(f.url);
    const stream = grpc.serverStream(watch, { service }, {});
    const events = stream[Symbol.asyncIterator]();
    expect((await events.next()).value?.status).toBe(Status.SERVING);
    reasons = ["the engine is gone"];
    expect((await events.next()).value?.status).toBe(Status.NOT_SERVING);
    reasons = [];
    expect((await events.next()).value?.status).toBe(Status.SERVING);
    stream.cancel();
    await events.next().catch(() => {});
    grpc.close();
  });

  it("keeps a Watch of an unknown service open", async () => {
    f = await startPort({ ready });
    const grpc = grpcClient(f.url);
    const stream = grpc.serverStream(watch, { service: "no.Such" }, {});
    const events = stream[Symbol.asyncIterator]();
    expect((await events.next()).value?.status).toBe(Status.SERVICE_UNKNOWN);
    stream.cancel();
    await events.next().catch(() => {});
    grpc.close();
  });

  it("has no more than so many watches at once, and gives their places back", async () => {
    f = await startPort({ ready, limits: { healthWatches: 2 } });
    const grpc = grpcClient(f.url);
    const open = [1, 2].map(() => grpc.serverStream(watch, {}, {}));
    for (const stream of open) await stream[Symbol.asyncIterator]().next();
    const third = () => grpc.serverStream(watch, {}, {})[Symbol.asyncIterator]().next();
    await expect(third()).rejects.toMatchObject({ code: 8 });
    for (const stream of open) stream.cancel();
    await expect.poll(async () => (await third().catch(() => undefined))?.value?.status).toBe(Status.SERVING);
    grpc.close();
  });
});
