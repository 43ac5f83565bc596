import { once } from "node:events";
import { createInterface } from "node:readline";
import { styleText } from "node:util";

/** A colour or weight, as node:util names it. */
export type Style = Parameters<typeof styleText>[0];

/** One of the process' two outputs, as progress sees it. */
export interface Screen {
  /** Columns of a screen whose last line can be drawn anew; undefined: a file, a pipe or a dumb terminal. */
  readonly liveColumns: number | undefined;
  write(text: string): void;
}

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
  /** Standard output, for progress that is the answer. */
  readonly answers: Screen;
  /** Standard error, for progress beside an answer. */
  readonly notes: Screen;
  /** Asks the user for a line, undefined if none comes. Undefined where there is nobody to ask: no terminal. */
  readonly ask: ((question: string, signal: AbortSignal) => Promise<string | undefined>) | undefined;
}

/** The process' own terminal. */
export function createTerminal(options: {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** Absent: nobody is asked anything. */
  readonly stdin?: NodeJS.ReadStream;
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
    answers: screen(stdout, env),
    notes: screen(stderr, env),
    get ask() {
      // Looked at only when asked for: to look at standard input opens it.
      const { stdin } = options;
      if (!stdin?.isTTY || !stderr.isTTY) return undefined;
      return (question: string, signal: AbortSignal) => ask(stdin, stderr, question, signal);
    },
  };
}

function screen(stream: NodeJS.WriteStream, env: Readonly<NodeJS.ProcessEnv>): Screen {
  return {
    get liveColumns() {
      return stream.isTTY && env.TERM !== "dumb" ? stream.columns : undefined;
    },
    write: (text) => void stream.write(text),
  };
}

async function ask(
  stdin: NodeJS.ReadStream,
  stderr: NodeJS.WriteStream,
  question: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  // Not readline's own line editor: it would take Ctrl-C away from the process.
  const lines = createInterface({ input: stdin, terminal: false });
  stderr.write(question);
  try {
    const [line] = await Promise.race([once(lines, "line", { signal }), once(lines, "close", { signal })]);
    if (line === undefined) stderr.write("\n");
    return line;
  } catch {
    // Interrupted.
    stderr.write("\n");
    return undefined;
  } finally {
    lines.close();
  }
}
