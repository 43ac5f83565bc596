import { restateHarness } from "./restate.ts";
import { engineConformance } from "./suite.ts";

engineConformance("Restate, virtual queues", () => restateHarness(true));
