import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { ConfigError } from "../../src/config/config-error.ts";
import { readConfigFile } from "../../src/config/file.ts";

const dir = mkdtempSync(join(tmpdir(), "mc-config-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const file = join(dir, "mission-control.yaml");
const read = (text: string | Uint8Array) => {
  writeFileSync(file, text);
  return readConfigFile(file);
};
const faults = (text: string | Uint8Array): string[] => {
  try {
    read(text);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message.replaceAll(file, "FILE").split("\n");
  }
  throw new Error("it was accepted");
};

test("everything that can be said is read: paths from the file's folder on, times in ms", () => {
  const config = read(`
listen: { host: 0.0.0.0, port: 8443 }
tls: { cert: tls/server.crt, key: /etc/tls/server.key, client_ca: ca.crt, require_client_certificate: true }
data_dir: data
log_level: warn
engines:
  - { name: restate, kind: restate, admin_url: "http://restate.internal:9070" }
  - { name: restate-tls, kind: restate, admin_url: "https://[::1]" }
  - { name: local, kind: restate, admin_url: "unix:/run/restate/admin.sock" }
brakes:
  blast_radius: { sre: 10, sre_admin: unlimited }
  longest: 30d
  drift_tolerance: { workflows: 3, percent: 2.5 }
  approve_within: 15m
  release_rate: 200
drill: { every: 6h, canaries: [{ engine: local, start_url: "http://127.0.0.1:8080/Canary/run/send" }] }
cors: { origins: ["https://ops.example.com", "http://localhost:5173"] }
identity:
  issuers:
    - issuer: https://login.example.com
      audience: mission-control
      jwks_file: keys.json
      algorithms: [ES256, RS256]
      roles_claim: groups
      role_names: { "Team SRE": sre, oncall: oncall }
      plain_jwt: true
roles:
  oncall:
    permissions: [workflows.read, workflows.pause]
    scope: { engines: [prod], labels: [risk=low], tenant: own }
policy: { dir: policies }
`);
  expect(config).toMatchObject({
    listen: { host: "0.0.0.0", port: 8443 },
    tls: {
      certFile: join(dir, "tls/server.crt"),
      keyFile: "/etc/tls/server.key",
      clientCaFile: join(dir, "ca.crt"),
      requireClientCertificate: true,
    },
    data_dir: join(dir, "data"),
    log_level: "warn",
    engines: [
      { name: "restate", kind: "restate", address: { host: "restate.internal", port: 9070, secure: false } },
      { name: "restate-tls", address: { host: "::1", port: 443, secure: true } },
      { name: "local", address: { socketPath: "/run/restate/admin.sock" } },
    ],
    brakes: {
      blastRadius: { sre: 10, sre_admin: Number.POSITIVE_INFINITY },
      longestBrakeMs: 30 * 24 * 3_600_000,
      driftTolerance: { count: 3, percent: 2.5 },
      approveWithinMs: 900_000,
      releaseRate: 200,
    },
    drill: {
      every: 6 * 3_600_000,
      canaries: [{ engine: "local", startUrl: "http://127.0.0.1:8080/Canary/run/send" }],
    },
    cors: { origins: ["https://ops.example.com", "http://localhost:5173"] },
    identity: {
      issuers: [
        {
          issuer: "https://login.example.com",
          audiences: ["mission-control"],
          jwks: { file: join(dir, "keys.json") },
          algorithms: ["ES256", "RS256"],
          claims: { roles: "groups", roleNames: { "Team SRE": "sre", oncall: "oncall" } },
          plainJwt: true,
        },
      ],
    },
    policy: { dir: join(dir, "policies") },
  });
  expect(config.roles?.oncall).toEqual({
    permissions: ["workflows.read", "workflows.pause"],
    scope: { engines: ["prod"], labels: ["risk=low"], tenant: "own" },
  });
  expect(config.roles?.viewer?.permissions).toContain("workflows.read");
});

test("a step that is held for as long as its runtime waits is refused where nothing else is said: never skipped", () => {
  const { engines = [] } = read(`
engines:
  - { name: nothing-said, kind: ai-first }
  - { name: said, kind: ai-first, hook_timeout: 30s, at_timeout: PAUSE, silent_after: 5m, retention: 30d }
`);
  expect(engines).toEqual([
    expect.objectContaining({ hooks: { timeoutMs: 600_000, atTimeout: "DENY" }, silentAfterMs: 600_000 }),
    expect.objectContaining({
      hooks: { timeoutMs: 30_000, atTimeout: "PAUSE" },
      silentAfterMs: 300_000,
      retentionMs: 30 * 24 * 3_600_000,
    }),
  ]);
});

test("inputs are kept only where an entry says so", () => {
  const { engines = [] } = read(`
engines:
  - { name: kept, kind: ai-first, inputs: { keep: true } }
  - { name: kept-less, kind: gate, inputs: { keep: true, redact: [iban, customer.address], max_bytes: 100 } }
  - { name: dropped, kind: gate, inputs: { keep: false, redact: [iban] } }
  - { name: nothing-said, kind: ai-first }
`);
  expect(engines.map((engine) => ("inputs" in engine ? engine.inputs : undefined))).toEqual([
    { redact: [], maxBytes: 4096 },
    { redact: ["iban", "customer.address"], maxBytes: 100 },
    undefined,
    undefined,
  ]);
});

test("the ledger's fallback file and streams are read", () => {
  const { ledger } = read(`
ledger:
  fallback_file: spool/ledger.jsonl
  streams:
    - { name: siem, otlp_url: "https://collector.internal:4318/v1/logs", token_file: collector-token }
    - { name: file, jsonl_file: /var/log/ledger.jsonl }
`);
  expect(ledger).toEqual({
    fallback_file: join(dir, "spool/ledger.jsonl"),
    streams: [
      {
        name: "siem",
        url: new URL("https://collector.internal:4318/v1/logs"),
        tokenFile: join(dir, "collector-token"),
        caFile: undefined,
      },
      { name: "file", file: "/var/log/ledger.jsonl" },
    ],
  });
});

test("a remote policy service is read, with what may go on without it: by default only emergencies", () => {
  const { policy } = read(`
policy:
  embedded: false
  remotes:
    - name: kos
      form: grpc
      url: https://kos.internal:8040
      deadline: 100ms
      ca_file: kos-ca.crt
      token_file: /run/kos.token
      when_unreachable: [{ actions: [runtime.pause], roles: [sre_admin] }]
    - { name: authzen, form: authzen, url: "http://127.0.0.1:8041" }
`);
  expect(policy?.remotes).toMatchObject([
    {
      name: "kos",
      form: "grpc",
      url: new URL("https://kos.internal:8040"),
      deadlineMs: 100,
      caFile: join(dir, "kos-ca.crt"),
      tokenFile: "/run/kos.token",
      whenUnreachable: [{ actions: ["runtime.pause"], roles: ["sre_admin"], emergencyOnly: true }],
    },
    { name: "authzen", form: "authzen", whenUnreachable: undefined },
  ]);
});

test("JSON is read as well, and an empty file says nothing", () => {
  expect(read('{"listen": {"port": 1}}').listen).toEqual({ port: 1 });
  expect(read("# nothing yet\n")).toEqual({});
});

describe("a fault is told with its line, its key and what to do", () => {
  test.each([
    ["listne: {}", /^FILE:1: listne is not known here: use one of listen, tls, .*, or remove it$/],
    [
      "listen:\n  port: 8030\n  prot: 1",
      /^FILE:3: listen\.prot is not known here: use one of host, port, or remove it$/,
    ],
    ["listen:\n  port: 80300", /^FILE:2: listen\.port has to be a port from 0 to 65535$/],
    ["listen:\n  port: '8030'", /^FILE:2: listen\.port has to be a port from 0 to 65535$/],
    ["listen: 8030", /^FILE:1: listen has to be a mapping of keys to values$/],
    ["- listen", /^FILE:1: the file has to be a mapping of keys to values$/],
    ["tls:\n  cert: a.crt", /^FILE:1: tls\.key is missing: it has to be a text$/],
    [
      "tls: { cert: a, key: b,\n require_client_certificate: true }",
      /^FILE:2: tls\.require_client_certificate needs client_ca: /,
    ],
    [
      "ledger:\n  streams:\n    - { name: siem, otlp_url: 'http://collector.internal/v1/logs' }",
      /^FILE:3: ledger\.streams\[0\]\.otlp_url has to be https:/,
    ],
    [
      "ledger:\n  streams:\n    - { name: siem }",
      /^FILE:3: ledger\.streams\[0\]\.jsonl_file .*or otlp_url: one of the two/,
    ],
    [
      "ledger:\n  streams:\n    - { name: a, jsonl_file: x }\n    - { name: a, jsonl_file: y }",
      /^FILE:2: ledger\.streams have to have different names/,
    ],
    ["ledger:\n  witnesses: ['http://witness.example.com/']", /^FILE:2: ledger\.witnesses\[0\] has to be https:/],
    [
      "policy:\n  remotes:\n    - { name: kos, form: grpc, url: 'https://k' }\n    - { name: kos, form: authzen, url: 'https://l' }",
      /^FILE:2: policy\.remotes have to have different names/,
    ],
    [
      "policy:\n  remotes:\n    - { name: cedar, form: grpc, url: 'https://k' }",
      /^FILE:2: policy\.remotes cannot be called cedar/,
    ],
    [
      "policy:\n  remotes:\n    - { name: kos, form: grpc, url: 'https://k', cert_file: c }",
      /^FILE:3: policy\.remotes\[0\]\.cert_file goes with key_file/,
    ],
    [
      "policy:\n  embedded: false\n  dir: p\n  remotes:\n    - { name: kos, form: grpc, url: 'https://k' }",
      /^FILE:\d: policy\.dir/,
    ],
    ["policy:\n  embedded: false", /^FILE:2: policy\.embedded is false, and there are no remotes: nobody/],
    [
      "policy:\n  remotes:\n    - { name: kos, form: grpc, url: 'http://kos.internal' }",
      /^FILE:3: policy\.remotes\[0\]\.url has to be https:/,
    ],
    [
      "policy:\n  remotes:\n    - name: kos\n      form: grpc\n      url: https://k\n      when_unreachable: [{ actions: [runtime.puase], roles: [sre] }]",
      /^FILE:6: policy\.remotes\[0\]\.when_unreachable\[0\]\.actions\[0\] has to be one of runtime\.list, /,
    ],
    [
      "policy:\n  remotes:\n    - name: kos\n      form: grpc\n      url: https://k\n      when_unreachable: [{ actions: [runtime.pause], roles: [boss] }]",
      /^FILE:6: policy\.remotes\[0\]\.when_unreachable\[0\]\.roles is no role: use one of viewer/,
    ],
    ["engines:\n  - {name: a, kind: gate, inputs: {redact: [iban]}}", /^FILE:2: engines\[0\]\.inputs\.keep /],
    [
      "engines:\n  - {name: a, kind: gate, inputs: {keep: true, redact: ['.']}}",
      /^FILE:2: engines\[0\]\.inputs\.redact\[0\] has to be a key, or a path/,
    ],
    ["log_level: loud", /^FILE:1: log_level has to be one of debug, info, warn, error$/],
    [
      "engines:\n  - {name: a, kind: temporal, admin_url: 'http://a'}",
      /^FILE:2: engines\[0\]\.kind has to be one of restate, gate, ai-first$/,
    ],
    [
      "engines:\n  - {name: A, kind: restate, admin_url: 'http://a'}",
      /^FILE:2: engines\[0\]\.name has to be 1 to 63 characters/,
    ],
    [
      "engines:\n  - {name: a, kind: restate, admin_url: 'ftp://a'}",
      /^FILE:2: engines\[0\]\.admin_url has to be a URL like/,
    ],
    [
      "engines:\n  - {name: a, kind: restate, admin_url: 'http://u:p@a'}",
      /admin_url has to be a URL .*without a path or a password/,
    ],
    [
      "engines:\n  - {name: a, kind: restate, admin_url: 'http://a'}\n  - {name: a, kind: restate, admin_url: 'http://b'}",
      /^FILE:3: engines\[1\]\.name is the name of another engine: choose another$/,
    ],
    ["brakes:\n  longest: 3 weeks", /^FILE:2: brakes\.longest has to be a time from 1m to 365d, like /],
    [
      "drill:\n  canaries:\n    - { engine: a, start_url: /run }",
      /^FILE:3: drill\.canaries\[0\]\.start_url has to be the URL that starts/,
    ],
    ["brakes:\n  release_rate: 0", /^FILE:2: brakes\.release_rate has to be a number of workflows from 1 to 1000000$/],
    [
      "brakes:\n  drift_tolerance: { workflows: 1, percent: 101 }",
      /^FILE:2: brakes\.drift_tolerance\.percent has to be a number from 0 to 100$/,
    ],
    [
      "brakes:\n  blast_radius: { sre: -1 }",
      /^FILE:2: brakes\.blast_radius\.sre has to be a number of workflows from 0, or "unlimited"$/,
    ],
    [
      "brakes:\n  blast_radius:\n    ser: 50",
      /^FILE:3: brakes\.blast_radius\.ser is no role: use one of viewer, .*, or define it in roles$/,
    ],
    ["cors: { origins: ['*'] }", /^FILE:1: cors\.origins\[0\] has to be an origin .*there is no \*$/],
    ["cors: { origins: ['https://a.example/'] }", /^FILE:1: cors\.origins\[0\] has to be an origin/],
    ["roles: { a: { permissions: [fly] } }", /^FILE:1: roles\.a\.permissions\[0\] has to be one of workflows\.read, /],
    [
      "roles: { a: { permissions: [], scope: { tenant: mine } } }",
      /^FILE:1: roles\.a\.scope\.tenant has to be "own", or a list/,
    ],
    ["roles: { a: { permissions: [], scope: { types: [] } } }", /^FILE:1: roles\.a\.scope\.types is empty/],
    [
      "roles: { a: { permissions: [], scope: { labels: [risk] } } }",
      /^FILE:1: roles\.a\.scope\.labels "risk" is no label/,
    ],
    ["roles: { 'A B': { permissions: [] } }", /^FILE:1: roles\.A B is no name for a role/],
    ["plaintext_because: ''", /^FILE:1: plaintext_because has to say in a sentence why/],
    ["listen: {port: 1}\nlisten: {port: 2}", /^FILE:2: is not YAML: Map keys must be unique/],
    ["listen: [", /^FILE:1: is not YAML: /],
    ["a: !!js/function x", /^FILE:1: is not YAML: Unresolved tag/],
    ["a: 1\n---\nb: 2", /^FILE:2: is not YAML: Source contains multiple documents/],
  ])("%j", (text, told) => {
    expect(faults(text)).toEqual([expect.stringMatching(told)]);
  });

  test("all of them at once", () => {
    expect(faults("listen: { port: -1 }\nlog_level: loud\nidentity: { issuers: [{ issuer: '' }] }")).toEqual([
      expect.stringMatching(/^FILE:1: listen\.port /),
      expect.stringMatching(/^FILE:2: log_level /),
      expect.stringMatching(/^FILE:3: identity\.issuers\[0\]\.issuer /),
      expect.stringMatching(/^FILE:3: identity\.issuers\[0\]\.audience is missing/),
      expect.stringMatching(/^FILE:3: identity\.issuers\[0\]\.jwks_file is missing/),
    ]);
  });

  test("what the file says is not repeated: it may be a secret in the wrong place", () => {
    const text =
      "identity: { issuers: hunter2 }\nlog_level: hunter2\ndata_dir: { a: hunter2 }\nengines: [{admin_url: hunter2}]";
    expect(faults(text).join()).not.toContain("hunter2");
  });
});

describe("what could hurt is refused", () => {
  test("a file beyond 256 KiB", () => {
    expect(faults(`# ${"x".repeat(256 * 1024)}`)).toEqual([expect.stringContaining("larger than 256 KiB")]);
  });
  test("aliases upon aliases", () => {
    const levels = Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}]`);
    expect(faults(["a0: &a0 [x]", ...levels].join("\n"))[0]).toMatch(/^FILE: cannot be read as YAML: /);
  });
  test("nesting without end", () => {
    expect(faults("[".repeat(100_000))[0]).toMatch(/YAML/);
  });
  test("bytes that are not UTF-8", () => {
    expect(faults(Uint8Array.of(0x61, 0x3a, 0xff))[0]).toMatch(/^cannot read the configuration file FILE: /);
  });
  test("a file that is not there", () => {
    expect(() => readConfigFile(join(dir, "missing.yaml"))).toThrow(
      /cannot read the configuration file .*missing\.yaml: ENOENT/,
    );
  });
  test("__proto__ as a key", () => {
    expect(faults("__proto__: { listen: {} }")[0]).toMatch(/__proto__/);
  });
});
