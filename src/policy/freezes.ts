import * as z from "zod";

/** A window of time in which policies forbid what they otherwise permit. Which, the policies say; this says when. */
export type Freeze = { readonly name: string } & (
  | { readonly kind: "once" /** ms since the epoch. */; readonly from: number; readonly until: number }
  | {
      readonly kind: "weekly";
      /** 1 Monday – 7 Sunday. */
      readonly days: readonly number[];
      /** Minutes since midnight, in the time zone. */
      readonly from: number;
      readonly until: number;
      readonly clock: Intl.DateTimeFormat;
    }
);

const weekdays = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] as const;
const name = z.string().regex(/^[\w.-]{1,64}$/, "has to be 1 to 64 letters, digits, dots, dashes or underscores");

const once = z
  .strictObject({ name, from: moment(), until: moment() })
  .refine(({ from, until }) => from < until, "has to end after it begins")
  .transform((window): Freeze => ({ kind: "once", ...window }));

const weekly = z
  .strictObject({
    name,
    days: z.array(z.enum(weekdays)).min(1),
    from: clockTime(),
    until: clockTime(),
    time_zone: z.string().optional(),
  })
  .refine(({ from, until }) => from < until, "has to end after it begins: give one that passes midnight as two")
  .transform(({ days, time_zone = "UTC", ...window }, context): Freeze => {
    const clock = clockIn(time_zone);
    if (!clock) {
      context.addIssue({
        code: "custom",
        path: ["time_zone"],
        message: `"${time_zone}" is not a time zone like Europe/Berlin`,
      });
      return z.NEVER;
    }
    return { kind: "weekly", ...window, clock, days: days.map((day) => weekdays.indexOf(day) + 1) };
  });

/** What freezes.yaml holds. */
export const freezesFile = z.strictObject({ windows: z.array(z.union([weekly, once])).max(256) });

/** The names of the windows that this moment is in. */
export function freezesAt(freezes: readonly Freeze[], time: Date): string[] {
  return freezes.filter((freeze) => isIn(freeze, time)).map((freeze) => freeze.name);
}

function isIn(freeze: Freeze, time: Date): boolean {
  if (freeze.kind === "once") return time.getTime() >= freeze.from && time.getTime() < freeze.until;
  const parts = new Map(freeze.clock.formatToParts(time).map(({ type, value }) => [type, value]));
  const day = (weekdays as readonly string[]).indexOf(parts.get("weekday") ?? "") + 1;
  const minute = Number(parts.get("hour")) * 60 + Number(parts.get("minute"));
  return freeze.days.includes(day) && minute >= freeze.from && minute < freeze.until;
}

function clockIn(timeZone: string): Intl.DateTimeFormat | undefined {
  try {
    return new Intl.DateTimeFormat("en-US", {
      timeZone,
      weekday: "long",
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
    });
  } catch {
    return undefined;
  }
}

function moment() {
  return z.iso
    .datetime({ offset: true, error: "has to be a time like 2026-12-24T00:00:00Z" })
    .transform((text) => Date.parse(text));
}

function clockTime() {
  return z
    .string()
    .regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/, 'has to be a time of the day like "09:30", to "24:00"')
    .transform((text) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3)));
}
