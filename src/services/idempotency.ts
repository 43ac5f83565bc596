import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { MissionControlError } from "../errors.ts";
import type { Call } from "../interceptors/context.ts";
import { requestDigest } from "../ledger/digest.ts";
import type { Store } from "../store/store.ts";

/** Answers that are kept in memory, beside the store: they bridge the time until the OUTCOME entry has committed them. */
const recentLimit = 10_000;

/** The same request_id of the same caller does one thing: repeated, it gets the first answer; with other content, an error. */
export class Idempotency {
  readonly #store: Store;
  readonly #recent = new Map<string, { digest: Uint8Array; response: Promise<Uint8Array> }>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Runs `work` unless the request was answered before. A failure is not kept: the caller may try again. */
  async once<Req extends DescMessage, Res extends DescMessage>(
    call: Call,
    requestId: string,
    input: { schema: Req; message: MessageShape<Req> },
    output: Res,
    work: () => Promise<MessageShape<Res>>,
  ): Promise<MessageShape<Res>> {
    if (requestId === "") return work();
    const key = [call.principal?.issuer, call.principal?.subject, call.method, requestId.toLowerCase()].join("\n");
    const digest = requestDigest(input.schema, input.message);
    const known = this.#recent.get(key) ?? (await this.#stored(key)) ?? this.#recent.get(key);
    if (known) {
      if (!Buffer.from(known.digest).equals(digest)) throw reused(requestId);
      return fromBinary(output, await known.response);
    }
    const result = work();
    const response = result.then((message) => toBinary(output, message));
    this.#recent.set(key, { digest, response });
    if (this.#recent.size > recentLimit) for (const oldest of this.#recent.keys().take(1)) this.#recent.delete(oldest);
    try {
      call.also = { answers: [{ key, requestDigest: digest, response: await response, time: Date.now() }] };
      return await result;
    } catch (error) {
      this.#recent.delete(key);
      throw error;
    }
  }

  async #stored(key: string): Promise<{ digest: Uint8Array; response: Promise<Uint8Array> } | undefined> {
    const answer = await this.#store.answer(key);
    return answer && { digest: answer.requestDigest, response: Promise.resolve(answer.response) };
  }
}

function reused(requestId: string): MissionControlError {
  return new MissionControlError(
    "REQUEST_ID_REUSED",
    `request_id ${requestId} was used for another request: take a new UUID for each thing to be done`,
    { metadata: { request_id: requestId } },
  );
}
