import { randomBytes } from "node:crypto";

const timeDigits = 9;
const counterDigits = 4;
const counterEnd = 36 ** counterDigits;
const randomLength = 6;
/** Random bytes are drawn for so many ids at once: each draw costs as much as ten ids. */
const idsAtOnce = 512;

/**
 * Makes entry ids: "ae_", the time in ms, a counter and 48 random bits, so that they sort as they
 * were made, also within one ms and when the clock is set back, and never meet those of another process.
 */
export function createEntryIds(): (now: number) => string {
  let time = 0;
  let counter = 0;
  let random = Buffer.alloc(0);
  let drawn = 0;
  return (now) => {
    counter += 1;
    if (now > time || counter === counterEnd) {
      time = Math.max(now, time + 1);
      counter = 0;
    }
    if (drawn >= random.length) {
      random = randomBytes(idsAtOnce * randomLength);
      drawn = 0;
    }
    drawn += randomLength;
    const own = random.toString("hex", drawn - randomLength, drawn);
    return `ae_${digits(time, timeDigits)}${digits(counter, counterDigits)}${own}`;
  };
}

function digits(value: number, length: number): string {
  return value.toString(36).padStart(length, "0");
}
