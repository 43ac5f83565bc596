import type { Gate, Run, StepAbout, StepInFlight, WorkflowAbout } from "./index.ts";

/** A handler as `callbacks` of LangChain and LangGraph take it. */
export interface GateHandler {
  readonly name: string;
  readonly awaitHandlers: true;
  readonly raiseError: true;
  handleChainStart(
    chain: unknown,
    inputs: unknown,
    runId: string,
    parentRunId?: string,
    tags?: string[],
    metadata?: Record<string, unknown>,
    runType?: string,
    runName?: string,
  ): Promise<void>;
  handleChainEnd(outputs: unknown, runId: string): void;
  handleChainError(error: unknown, runId: string): void;
  handleToolStart(
    tool: unknown,
    input: string,
    runId: string,
    parentRunId?: string,
    tags?: string[],
    metadata?: Record<string, unknown>,
    runName?: string,
  ): Promise<void>;
  handleToolEnd(output: unknown, runId: string): void;
  handleToolError(error: unknown, runId: string): void;
}

/** What LangGraph throws to stop at an `interrupt` or to hand over to a parent: the node has not failed. */
const bubbles = new Set(["GraphInterrupt", "NodeInterrupt", "ParentCommand"]);

/**
 * Gates a LangGraph.js graph, whose nodes and tools stay as they are:
 * `graph.compile().withConfig({ callbacks: [gateLangGraph(gate, { type: "SupportAgent" })] })`. Each run of the graph is a workflow, with
 * its thread as the label `thread`; each node and each tool that it calls is a step, and waits while a brake holds the run. A node
 * that is tried again is another step. `toolInputs` tells what each tool is given; default false.
 */
export function gateLangGraph(
  gate: Gate,
  { toolInputs = false, ...about }: Omit<WorkflowAbout, "id"> & { readonly toolInputs?: boolean },
): GateHandler {
  /** By the id of each runnable that runs in it. */
  const runs = new Map<string, Run>();
  const steps = new Map<string, StepInFlight>();
  const enter = async (run: Run, runId: string, name: string, step: StepAbout = {}) => {
    try {
      steps.set(runId, await run.enter(name, step));
    } catch (error) {
      // What has not begun is not told to have ended.
      runs.delete(runId);
      throw error;
    }
  };
  const leave = (runId: string, failure?: { readonly error: unknown }) => {
    const step = steps.get(runId);
    steps.delete(runId);
    if (failure !== undefined && bubbles.has((failure.error as Error | undefined)?.name ?? "")) step?.cancel();
    else step?.end(failure);
  };
  const roots = new Map<string, Run>();
  const end = (runId: string, failure?: { readonly error: unknown }) => {
    leave(runId, failure);
    runs.delete(runId);
    roots.get(runId)?.end(failure);
    roots.delete(runId);
  };
  return {
    name: "mission-control",
    // The graph waits for the answer, and a run that has been given up starts nothing that was held.
    awaitHandlers: true,
    raiseError: true,
    async handleChainStart(_chain, _inputs, runId, parentRunId, tags = [], metadata = {}) {
      const run = runs.get(parentRunId ?? "");
      if (run === undefined) {
        const { thread_id: thread } = metadata;
        const labels = typeof thread === "string" ? { thread: thread.slice(0, 256), ...about.labels } : about.labels;
        const root = gate.start({ ...about, ...(labels && { labels }) });
        runs.set(runId, root);
        roots.set(runId, root);
        return;
      }
      runs.set(runId, run);
      const { langgraph_node: node } = metadata;
      // Of what runs in a node, LangGraph marks the node itself so; its own bookkeeping is a node too, and hidden.
      const isNode = tags.some((tag) => tag.startsWith("graph:step:")) && !tags.includes("langsmith:hidden");
      if (isNode && typeof node === "string") await enter(run, runId, node);
    },
    handleChainEnd: (_outputs, runId) => end(runId),
    handleChainError: (error, runId) => end(runId, { error }),
    async handleToolStart(_tool, input, runId, parentRunId, _tags, _metadata, runName) {
      const run = runs.get(parentRunId ?? "");
      if (run === undefined) return;
      await enter(run, runId, `tool ${runName ?? ""}`.trim(), toolInputs ? { inputs: given(input) } : {});
    },
    handleToolEnd: (_output, runId) => leave(runId),
    handleToolError: (error, runId) => leave(runId, { error }),
  };
}

/** LangChain tells what a tool is given as text, of JSON where it is an object. */
function given(input: string): unknown {
  try {
    return JSON.parse(input);
  } catch {
    return input;
  }
}
