import { once } from "node:events";
import { createServer as createHttp1 } from "node:http";
import { connect as connectHttp2, createServer as createHttp2 } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createMux, speaks } from "../../src/http/mux.ts";
import { raw } from "./raw.ts";

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

describe("what a connection speaks", () => {
  it("is open for every beginning of the HTTP/2 preface, and HTTP/2 with all of it", () => {
    for (let i = 0; i < preface.length; i++) expect(speaks(Buffer.from(preface.slice(0, i)))).toBeUndefined();
    expect(speaks(Buffer.from(preface))).toBe("http2");
    expect(speaks(Buffer.from(`${preface}more`))).toBe("http2");
  });

  it("is HTTP/1.1 from the first byte that differs from the preface", () => {
    expect(speaks(Buffer.from("G"))).toBe("http1");
    expect(speaks(Buffer.from("PO"))).toBe("http1");
    expect(speaks(Buffer.from("PRI * HTTP/1"))).toBe("http1");
    expect(speaks(Buffer.from([0]))).toBe("http1");
  });

  it("is TLS from a handshake record's first byte", () => {
    expect(speaks(Buffer.from([0x16]))).toBe("tls");
  });
});

describe("the mux", () => {
  const open: (() => void)[] = [];
  afterEach(() => {
    for (const close of open.splice(0)) close();
  });

  async function start(sniffMs = 5_000) {
    const http1 = createHttp1((req, res) => {
      req.on("data", () => {}).on("end", () => res.end(`one ${req.url}`));
    });
    const http2 = createHttp2((req, res) => res.end(`two ${req.url}`));
    const tls: Socket[] = [];
    const mux = createMux({
      sniffMs,
      connections: 50,
      accept: {
        http1: (socket) => http1.emit("connection", socket),
        http2: (socket) => http2.emit("connection", socket),
        tls: (socket) => {
          tls.push(socket);
          socket.destroy();
        },
      },
    });
    mux.listen(0, "127.0.0.1");
    await once(mux, "listening");
    open.push(() => {
      mux.close();
      http1.closeAllConnections();
    });
    return { port: (mux.address() as AddressInfo).port, tls, mux };
  }

  it("hands HTTP/1.1 over with nothing lost, however the bytes are cut", async () => {
    const { port } = await start();
    const request = "POST /cut HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody";
    const client = await raw(port);
    client.socket.setNoDelay(true);
    for (const byte of request) {
      client.socket.write(byte);
      await new Promise(setImmediate);
    }
    await client.closed();
    expect(client.received()).toContain("one /cut");
  });

  it("hands HTTP/2 over with nothing lost, however the bytes are cut", async () => {
    const { port } = await start();
    const client = await raw(port);
    client.socket.setNoDelay(true);
    const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // HEADERS of stream 1, END_HEADERS | END_STREAM: ":method: GET", ":scheme: http", ":path: /", ":authority: x".
    const headers = Buffer.from([0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 0x01, 0x78]);
    for (const byte of Buffer.concat([Buffer.from(preface), settings, headers])) {
      client.socket.write(Buffer.of(byte));
      await new Promise(setImmediate);
    }
    await client.until("two /");
    client.socket.destroy();
  });

  it("serves both at once, and a second request on each connection", async () => {
    const { port } = await start();
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    const two = async (path: string) => {
      const stream = session.request({ ":path": path });
      let text = "";
      for await (const chunk of stream) text += chunk;
      return text;
    };
    expect(
      await Promise.all([two("/a"), two("/b"), fetch(`http://127.0.0.1:${port}/c`).then((r) => r.text())]),
    ).toEqual(["two /a", "two /b", "one /c"]);
    expect(await two("/d")).toBe("two /d");
    session.close();
  });

  it.each([
    ["nothing", ""],
    ['one "P"', "P"],
    ["half a preface", preface.slice(0, 12)],
  ])("cuts off a client that sends %s, and serves the others meanwhile", async (_, bytes) => {
    const { port } = await start(300);
    const idle = await raw(port, bytes);
    const cpu = process.cpuUsage();
    expect(await (await fetch(`http://127.0.0.1:${port}/x`)).text()).toBe("one /x");
    expect(await idle.closed()).toBeGreaterThan(250);
    // An undecided prefix that was given back to the stream would spin.
    expect(process.cpuUsage(cpu).user).toBeLessThan(200_000);
    expect(idle.received()).toBe("");
  });

  it("serves a client that has said in time what it speaks, though the process was too busy to hear it", async () => {
    const { port, mux } = await start(50);
    mux.once("connection", () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200));
    const client = await raw(port, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await client.closed();
    expect(client.received()).toContain("one /x");
  });

  it("lets go of a client that leaves before it has said what it speaks", async () => {
    const { port } = await start();
    const client = await raw(port, "P");
    client.socket.end();
    await client.closed();
    expect(await (await fetch(`http://127.0.0.1:${port}/x`)).text()).toBe("one /x");
  });

  it("has a place for TLS", async () => {
    const { port, tls } = await start();
    const client = await raw(port, Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00]));
    await client.closed();
    expect(tls).toHaveLength(1);
  });
});
