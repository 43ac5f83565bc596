import { brakeHolds } from "./suites/brake-holds.ts";

brakeHolds(false);
