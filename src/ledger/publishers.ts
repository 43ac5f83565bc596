import { CheckpointLine } from "./checkpoint-line.ts";
import type { Publisher } from "./publisher.ts";
import { Witness } from "./witness.ts";

/** Where checkpoints are published to beside the files. */
export function openPublishers(
  { witnesses = [], toStdout = false }: { witnesses?: readonly string[] | undefined; toStdout?: boolean | undefined },
  stdout: NodeJS.WritableStream,
): Publisher[] {
  return [...witnesses.map((url) => new Witness(url)), ...(toStdout ? [new CheckpointLine(stdout)] : [])];
}
