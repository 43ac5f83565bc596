/** Texts and bytes up to this length are faster written by a loop than by a call into Node; texts where they are ASCII. */
const short = { text: 96, bytes: 48 } as const;

/** Bytes that grow, in protobuf's wire format. */
export class WireOutput {
  #bytes = new Uint8Array(4096);
  /** The same memory: what encodes texts. A plain array is faster to copy from. */
  #buffer = Buffer.from(this.#bytes.buffer);
  #end = 0;

  clear(): void {
    this.#end = 0;
  }

  /** What was written, in memory of its own. */
  copy(): Uint8Array {
    return this.#bytes.slice(0, this.#end);
  }

  tag(number: number, wireType: number): void {
    this.varint((number << 3) | wireType);
  }

  /** Below 2^32. */
  varint(value: number): void {
    this.#reserve(5);
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.#end++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#end++] = rest;
  }

  /** Any integer of 64 bits; negative ones as two's complement. */
  integer(value: number | bigint): void {
    if (value >= 0 && value <= 0xffff_ffff) {
      this.varint(Number(value));
      return;
    }
    this.#reserve(10);
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest > 0x7fn) {
      this.#bytes[this.#end++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#bytes[this.#end++] = Number(rest);
  }

  /** Bytes, or a part of them, behind their length. */
  bytes(value: Uint8Array, from = 0, to = value.length): void {
    const length = to - from;
    this.varint(length);
    this.#reserve(length);
    if (length > short.bytes) this.#bytes.set(value.subarray(from, to), this.#end);
    else for (let at = 0; at < length; at++) this.#bytes[this.#end + at] = value[from + at] as number;
    this.#end += length;
  }

  text(value: string): void {
    const { length } = value;
    this.#reserve(3 * length + 5);
    if (length <= short.text) {
      const start = this.#end + 1;
      let at = 0;
      for (; at < length; at++) {
        const code = value.charCodeAt(at);
        if (code > 0x7f) break;
        this.#bytes[start + at] = code;
      }
      if (at === length) {
        this.#bytes[this.#end] = length;
        this.#end = start + length;
        return;
      }
    }
    const start = this.begin();
    this.#end += this.#buffer.write(value, this.#end);
    this.end(start);
  }

  /** Begins something that stands behind its length; `end` gets what this returned. */
  begin(): number {
    this.#reserve(5);
    return ++this.#end;
  }

  end(start: number): void {
    const length = this.#end - start;
    if (length < 0x80) {
      this.#bytes[start - 1] = length;
      return;
    }
    // The length needs more than the one byte that was left for it.
    const more = length < 0x4000 ? 1 : length < 0x200000 ? 2 : 3;
    this.#reserve(more);
    this.#bytes.copyWithin(start + more, start, this.#end);
    this.#end = start - 1;
    this.varint(length);
    this.#end = start + more + length;
  }

  #reserve(bytes: number): void {
    const needed = this.#end + bytes + 8;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(2 * needed);
    larger.set(this.#bytes.subarray(0, this.#end));
    this.#bytes = larger;
    this.#buffer = Buffer.from(larger.buffer);
  }
}
