import { RE2JS } from "@bufbuild/re2";

/** All patterns of one expression together: RE2 is linear in the text, and in this. */
const maxInstructions = 512;
const maxPatterns = 8;
const maxPatternLength = 256;
/** Of one evaluation: instructions times characters, over all of its matches() calls. About 20 ms at the worst. */
const maxWork = 500_000;
/** RE2 keeps the states that it has seen: at most so many of a pattern before it goes on without. */
const maxStates = 256;

/** The regular expressions of one CEL expression: compiled once, by RE2, with bounded work. */
export class Patterns {
  readonly #compiled = new Map<string, { readonly regex: RE2JS; readonly instructions: number }>();
  #instructions = 0;
  #work = 0;

  /** Takes a pattern in. Throws an Error that says what is wrong with it. */
  add(pattern: string): void {
    if (this.#compiled.has(pattern)) return;
    if (pattern.length > maxPatternLength) throw new Error(`the pattern is longer than ${maxPatternLength} characters`);
    if (this.#compiled.size === maxPatterns) throw new Error(`there are more than ${maxPatterns} patterns`);
    const regex = RE2JS.compile(pattern);
    const re2 = regex.re2();
    re2.dfa.stateLimit = maxStates;
    const instructions = re2.prog.inst.length;
    this.#instructions += instructions;
    if (this.#instructions > maxInstructions) {
      throw new Error("the pattern is too costly: say less in it, or with smaller repetitions");
    }
    this.#compiled.set(pattern, { regex, instructions });
  }

  /** Begins the account of a new evaluation. */
  begin(): void {
    this.#work = 0;
  }

  /** What the CEL environment asks for: only patterns that were taken in can be had. */
  compile(pattern: string): { test(text: string): boolean } {
    const found = this.#compiled.get(pattern);
    if (found === undefined) throw new Error("a pattern has to be written as a literal");
    return {
      test: (text) => {
        this.#work += found.instructions * text.length;
        if (this.#work > maxWork) throw new Error("matching its patterns against this workflow costs too much");
        return found.regex.test(text);
      },
    };
  }
}
