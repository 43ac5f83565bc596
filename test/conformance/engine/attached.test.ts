import { attachedHarness } from "./attached.ts";
import { engineConformance, needsLink } from "./suite.ts";

const state = (of: string) =>
  `${of}: what is held comes to a stand, no step begins, and let go it ends as it would have`;

engineConformance("Gate, by runtimes that attach", attachedHarness, {
  skip: [
    { reason: "it is in the server itself: there is no line to it", tests: needsLink },
    { reason: "it has one way to sleep", tests: [state("asleep and idle"), state("awaiting a signal and idle")] },
    {
      reason: "it hears of a workflow when that begins: there are no pending ones",
      tests: [
        "pending, before its time: either it is held and takes no step, or the answer is notYet and it begins",
        "queued behind another: it is pending, and what is held before it lets it wait on",
      ],
    },
    {
      reason: "runtimes tell of steps, not of sleeps, calls and attempts",
      tests: [
        "what sleeps comes to a stand in its sleep, or when it wakes, as declared; its timer runs on, as declared",
        "what stands between two attempts at a step has that step without an end, failing: it runs again",
        "a trace tells failed attempts with their messages, and when a sleep is due",
        "a trace tells the call of a child with its id",
      ],
    },
    {
      reason: "labels are of workflows, and gates know them: nobody asks for handlers",
      tests: ["the handlers with labels are those whose workflows carry all of them, and no others"],
    },
  ],
});
