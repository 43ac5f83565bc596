import { aiFirstHarness } from "./ai-first.ts";
import { engineConformance, needsLink } from "./suite.ts";

const state = (of: string) =>
  `${of}: what is held comes to a stand, no step begins, and let go it ends as it would have`;

engineConformance("Gate, by the hooks of an AI-First Runtime", aiFirstHarness, {
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
      ],
    },
    {
      reason: "its hooks know no parents",
      tests: [
        "what is open matches one of the filters; what is paused only where it is asked for, children where they are",
        state("waiting for a child"),
        "the children of what is held are held with it, or run on, as declared",
        "a trace tells the call of a child with its id",
        "every id that it gave out is one of its own",
      ],
    },
    {
      reason: "its hooks do not tell how a step ended, nor why a workflow failed",
      tests: ["a step that ended well is told as such", "what failed says why"],
    },
    {
      reason: "labels are of workflows, and gates know them: nobody asks for handlers",
      tests: ["the handlers with labels are those whose workflows carry all of them, and no others"],
    },
  ],
});
