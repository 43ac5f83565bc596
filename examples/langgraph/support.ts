import { appendFile } from "node:fs/promises";
import { AIMessage, type BaseMessage, HumanMessage, type ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { ToolNode } from "@langchain/langgraph/prebuilt";
import * as z from "zod";

/** Orders of a shop that does not exist. */
const orders: Readonly<Record<string, { readonly cents: number; readonly late: boolean }>> = {
  "A-1001": { cents: 2_499, late: true },
  "A-1002": { cents: 12_900, late: false },
};

/**
 * A support agent as one writes it with LangGraph.js: a planner that calls tools, tools, and a reply. Rules stand in for the model, so
 * that it runs anywhere and does the same each time. Nothing in here knows of Mission Control.
 * @param ledger the file to which refunds are appended.
 */
export function supportGraph(ledger: string) {
  const findOrder = tool(async ({ order }) => JSON.stringify(orders[order] ?? { error: "not found" }), {
    name: "find_order",
    description: "Looks an order up.",
    schema: z.object({ order: z.string() }),
  });
  const issueRefund = tool(
    async ({ order, cents }) => {
      await appendFile(ledger, `${JSON.stringify({ order, cents })}\n`);
      return `refunded ${cents}`;
    },
    {
      name: "issue_refund",
      description: "Pays an order back.",
      schema: z.object({ order: z.string(), cents: z.number() }),
    },
  );

  const call = (name: string, args: Record<string, unknown>) =>
    new AIMessage({ content: "", tool_calls: [{ id: `call_${name}`, name, args }] });
  const answerOf = (messages: readonly BaseMessage[], name: string) =>
    messages.find((one): one is ToolMessage => one.getType() === "tool" && one.name === name)?.text;

  return new StateGraph(MessagesAnnotation)
    .addNode("plan", ({ messages }) => {
      const order = /A-\d+/.exec(messages[0]?.text ?? "")?.[0];
      const found = answerOf(messages, "find_order");
      if (order === undefined) return { messages: [new AIMessage("Which order is it?")] };
      if (found === undefined) return { messages: [call("find_order", { order })] };
      const { cents, late } = JSON.parse(found);
      if (late && answerOf(messages, "issue_refund") === undefined) {
        return { messages: [call("issue_refund", { order, cents })] };
      }
      return {
        messages: [new AIMessage(late ? `It was late: ${cents / 100} € are on their way.` : "It is on its way.")],
      };
    })
    .addNode("tools", new ToolNode([findOrder, issueRefund]))
    .addNode("reply", ({ messages }) => ({
      messages: [new AIMessage(`Hello! ${messages.at(-1)?.text} Yours, support`)],
    }))
    .addEdge(START, "plan")
    .addConditionalEdges("plan", ({ messages }) => {
      const last = messages.at(-1) as AIMessage | undefined;
      return (last?.tool_calls?.length ?? 0) > 0 ? "tools" : "reply";
    })
    .addEdge("tools", "plan")
    .addEdge("reply", END)
    .compile();
}

/** What somebody asks. */
export const asking = (text: string) => ({ messages: [new HumanMessage(text)] });
