import { randomBytes } from "node:crypto";

const timeDigits = 9;
const counterDigits = 4;
const counterEnd = 36 ** counterDigits;

/**
 * Makes entry ids: "ae_", the time in ms, a counter and 48 random bits, so that they sort as they
 * were made, also within one ms and when the clock is set back, and never meet those of another process.
 */
export function createEntryIds(): (now: number) => string {
  let time = 0;
  let counter = 0;
  return (now) => {
    counter += 1;
    if (now > time || counter === counterEnd) {
      time = Math.max(now, time + 1);
      counter = 0;
    }
    const random = randomBytes(6).toString("hex");
    return `ae_${digits(time, timeDigits)}${digits(counter, counterDigits)}${random}`;
  };
}

function digits(value: number, length: number): string {
  return value.toString(36).padStart(length, "0");
}
