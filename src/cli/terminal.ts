import { styleText } from "node:util";

/** A colour or weight, as node:util names it. */
export type Style = Parameters<typeof styleText>[0];

/** Where answers go, and what may be used to show them. */
export interface Terminal {
  /** Columns of the screen; undefined where the answer goes to a file or a pipe. */
  readonly columns: number | undefined;
  /** False: ASCII only. */
  readonly unicode: boolean;
  /** The text in a style, where colours are wanted. */
  paint(text: string, style: Style | undefined): string;
  /** Writes to standard output. */
  write(text: string): void;
  /** Writes to standard error: notes and failures, never answers. */
  note(text: string): void;
}

/** The process' own terminal. */
export function createTerminal(options: {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly env: Readonly<NodeJS.ProcessEnv>;
  readonly color: boolean;
}): Terminal {
  const { stdout, stderr, env } = options;
  const color = options.color && stdout.isTTY && !env.NO_COLOR && env.TERM !== "dumb";
  return {
    columns: stdout.isTTY ? stdout.columns : undefined,
    unicode: process.platform === "win32" || /utf-?8/i.test(env.LC_ALL || env.LC_CTYPE || env.LANG || ""),
    paint: (text, style) =>
      color && style !== undefined && text !== "" ? styleText(style, text, { validateStream: false }) : text,
    write: (text) => void stdout.write(text),
    note: (text) => void stderr.write(text),
  };
}
