import { fleetBrakes } from "./suites/fleet.ts";

fleetBrakes(false);
