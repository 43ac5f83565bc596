/** Where the agents find their input, and where they leave what they made. */
export interface Settings {
  /** The loopback port to serve on. */
  readonly port: number;
  /** Reports and ledgers are written here. */
  readonly workDir: string;
  /** Logs are read from here, and from nowhere else. */
  readonly dataDir: string;
  /** The node_modules folder to audit. */
  readonly packagesDir: string;
  /** The refunds to pay. */
  readonly refundsCsv: string;
  /** The unix socket through which the driver starts runs; without it there is no driver. */
  readonly ingressSocket: string | undefined;
}
