import { restateHarness } from "./restate.ts";
import { engineConformance } from "./suite.ts";

engineConformance("Restate", () => restateHarness(false));
