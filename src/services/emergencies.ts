import { seenWithin } from "../brakes/brake-sight.ts";
import type { Brakes } from "../brakes/brakes.ts";
import type { Logger } from "../log.ts";
import type { Reach } from "../policy/reach.ts";
import type { Brake } from "../store/brake.ts";
import type { Component } from "./health.ts";

/** Emergency brakes that hold, and that somebody else still has to approve. */
export function unapprovedEmergencies(brakes: Brakes): Brake[] {
  return [...brakes.all()].filter(isUnapprovedEmergency);
}

function isUnapprovedEmergency({ state, emergency, approval }: Brake): boolean {
  return state === "ENGAGED" && emergency && approval?.approvedBy === "";
}

/** The brakes that are engaged and of which something is within reach. */
export function engagedWithin(brakes: Brakes, reach: Reach): Brake[] {
  return [...brakes.all()].filter(
    (brake) =>
      brake.state === "ENGAGED" && seenWithin(reach, { brake, holds: brakes.holdsOf(brake.brakeId) }) !== undefined,
  );
}

/** In health: degraded while a brake that holds waits for its approval: an emergency, or one that has outgrown who engaged it. */
export function brakesComponent(brakes: Brakes): Component {
  return {
    name: "brakes",
    check: (_signal, reach) => {
      const engaged = engagedWithin(brakes, reach);
      const waiting = engaged.filter(({ approval }) => approval?.approvedBy === "");
      if (waiting.length === 0) return { status: "healthy", message: `${engaged.length} engaged` };
      const named = waiting
        .slice(0, 5)
        .map(({ brakeId, engagedBy, emergency }) => `${emergency ? "EMERGENCY " : ""}${brakeId} by ${engagedBy}`);
      return {
        status: "degraded",
        message: `to be approved by a second person, or released: ${named.join(", ")}${waiting.length > 5 ? " and more" : ""}`,
      };
    },
  };
}

/** Logs each emergency brake once, as an error, when it is engaged. Returns how to stop that. */
export function tellEmergencies(brakes: Brakes, log: Logger): () => void {
  const isOne = (brake: Brake | undefined) => brake?.state === "ENGAGED" && brake.emergency;
  const told = new Set([...brakes.all()].filter(isOne).map(({ brakeId }) => brakeId));
  return brakes.onChange(({ brakeIds }) => {
    for (const brakeId of brakeIds) {
      const brake = brakes.active(brakeId);
      if (brake === undefined || !isOne(brake)) told.delete(brakeId);
      else if (!told.has(brakeId)) {
        told.add(brakeId);
        const { engagedBy, reason, ticket, approval } = brake;
        const holds = brakes.holdCount(brakeId);
        log.error(
          { brakeId, engagedBy, reason, ticket, holds, needsApproval: approval !== undefined },
          "EMERGENCY: a brake was engaged",
        );
      }
    }
  });
}
