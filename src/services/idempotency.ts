import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { Claim } from "../brakes/brakes.ts";
import { MissionControlError } from "../errors.ts";
import type { Call } from "../interceptors/context.ts";
import { requestDigest } from "../proof/request-digest.ts";
import type { Store } from "../store/store.ts";

/** Answers that are kept in memory, beside the store: they bridge the time until the OUTCOME entry has committed them. */
const recentLimit = 10_000;

/** One request that may come several times. */
export interface IdempotentRequest<Req extends DescMessage, Res extends DescMessage> {
  readonly call: Call;
  /** "" where it has none: then it is done whenever it comes. */
  readonly requestId: string;
  readonly input: { readonly schema: Req; readonly message: MessageShape<Req> };
  readonly output: Res;
  /** Ends the wait for the answer to the first of them. */
  readonly signal: AbortSignal;
  /** Does it; the claim is to be committed together with the effect. */
  readonly work: (claim: Claim | undefined) => Promise<MessageShape<Res>>;
  /** Answers from the brake that it took effect on, where a crash came between the effect and the answer. */
  readonly recall: (brakeId: string) => Promise<MessageShape<Res>>;
}

/** The same request_id of the same caller does one thing: repeated, it gets the first answer; with other content, an error. */
export class Idempotency {
  readonly #store: Store;
  readonly #recent = new Map<string, { digest: Uint8Array; response: Promise<Uint8Array> }>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Runs the work unless the request was answered before. A failure is not kept: the caller may try again. */
  async once<Req extends DescMessage, Res extends DescMessage>(
    request: IdempotentRequest<Req, Res>,
  ): Promise<MessageShape<Res>> {
    const { call, requestId, input, output, work } = request;
    if (requestId === "") return work(undefined);
    // With another reach the same request is another one: its answer would tell what is beyond it by now.
    const reach = call.reach?.isLimited ? [call.reach.key] : [];
    const caller = [call.principal?.issuer, call.principal?.subject];
    const key = [...caller, call.method, requestId.toLowerCase(), ...reach].join("\n");
    const digest = requestDigest(input.schema, input.message);
    const stored = this.#recent.has(key) ? undefined : await this.#store.answer(key);
    const recent = this.#recent.get(key);
    const known = recent?.digest ?? stored?.requestDigest;
    if (known && !Buffer.from(known).equals(digest)) throw reused(requestId);
    if (recent) return fromBinary(output, await unlessAborted(recent.response, request.signal));
    if (stored && stored.response.length > 0) return fromBinary(output, stored.response);
    const result = stored ? request.recall(stored.brakeId) : work({ key, requestDigest: digest });
    const response = result.then((message) => toBinary(output, message));
    this.#recent.set(key, { digest, response });
    if (this.#recent.size > recentLimit) for (const oldest of this.#recent.keys().take(1)) this.#recent.delete(oldest);
    try {
      const brakeId = call.brakeId ?? stored?.brakeId ?? "";
      call.also = {
        answers: [{ key, requestDigest: digest, response: await response, brakeId, time: Date.now() }],
      };
      return await result;
    } catch (error) {
      this.#recent.delete(key);
      throw error;
    }
  }
}

function unlessAborted<T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    result.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

function reused(requestId: string): MissionControlError {
  return new MissionControlError(
    "REQUEST_ID_REUSED",
    `request_id ${requestId} was used for another request: take a new UUID for each thing to be done`,
    { metadata: { request_id: requestId } },
  );
}
