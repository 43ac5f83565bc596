/** Workflows that were held and are still to be reported, each once. Bounded: beyond, it only remembers that there were more. */
export class HeldWorkflows {
  readonly #ids = new Set<string>();
  #incomplete = false;
  readonly #limit: number;

  constructor(limit = 100_000) {
    this.#limit = limit;
  }

  get isEmpty(): boolean {
    return this.#ids.size === 0;
  }

  add(id: string): void {
    if (this.#ids.size < this.#limit) this.#ids.add(id);
    else this.#incomplete = !this.#ids.has(id) || this.#incomplete;
  }

  /** Takes some out, the oldest first. */
  take(count: number): { workflowIds: string[]; incomplete: boolean } {
    const workflowIds = [...this.#ids.values().take(count)];
    for (const id of workflowIds) this.#ids.delete(id);
    const incomplete = this.#incomplete;
    this.#incomplete = false;
    return { workflowIds, incomplete };
  }
}
