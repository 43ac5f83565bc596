#!/usr/bin/env python3
"""Verifies exports and receipts of Mission Control's ledger, with nothing but Python 3's standard library.

It shares no code with Mission Control, and asks nobody: it needs the file, the log's public key, and, where there is one, a
checkpoint that was seen before. Exit code 0: verified; 1: not, and why; 2: wrong usage.
"""
import argparse
import base64
import binascii
import datetime
import functools
import hashlib
import json
import re
import sys

from fields import CSV_COLUMNS, ENUMS, MESSAGES

ENTRY = "missioncontrol.v1.AuditEntry"
DISCLOSURE = "missioncontrol.v1.Disclosure"
CSV_HEADER = ",".join(CSV_COLUMNS + ["data"])


class NotVerified(Exception):
    """What was to be proved is not proved."""


# --- Ed25519 (RFC 8032), verification only: what is public needs no constant time ---

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P != 0:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P != 0 or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar > 0:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def decompress(data):
    number = int.from_bytes(data, "little")
    y, sign = number & ((1 << 255) - 1), number >> 255
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = (recover_x(BASE_Y, 0), BASE_Y, 1, recover_x(BASE_Y, 0) * BASE_Y % P)


@functools.lru_cache(maxsize=4096)
def is_signature(public_key, message, signature):
    if len(public_key) != 32 or len(signature) != 64:
        return False
    a, r = decompress(public_key), decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % L
    one, other = multiply(s, BASE), add(r, multiply(h, a))
    return (one[0] * other[2] - other[0] * one[2]) % P == 0 and (one[1] * other[2] - other[1] * one[2]) % P == 0


# --- keys and signed notes (C2SP signed-note, tlog-checkpoint) ---

def from_base64(text, what):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotVerified(f"{what} is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise NotVerified(f"{what} is not base64")
    return data


def parse_key(text, kind=1):
    """A verifier key, "<name>+<id>+<base64>", as (text, name, id, public key); kind 4 is that of a witness."""
    match = re.fullmatch(r"([^+\s]+)\+([0-9a-f]{8})\+(\S+)", text.strip())
    if match is None:
        raise NotVerified("this is not a verifier key")
    name, key_id, encoded = match.groups()
    typed = from_base64(encoded, "the verifier key")
    if len(typed) != 33 or typed[0] != kind:
        raise NotVerified(f"the verifier key is not one of Ed25519 with signatures of type {kind}")
    if hashlib.sha256(name.encode() + b"\n" + typed).hexdigest()[:8] != key_id:
        raise NotVerified("the verifier key's id does not fit")
    return (text.strip(), name, key_id, typed[1:])


def parse_note(note):
    """The text of a note, and its signatures as (name, key id, signature)."""
    if re.search("[\x00-\x09\x0b-\x1f]", note):
        raise NotVerified("the note is not plain text")
    end = note.rfind("\n\n")
    if end == -1 or not note.endswith("\n"):
        raise NotVerified("this is not a signed note")
    signatures = []
    for line in note[end + 2:-1].split("\n"):
        match = re.fullmatch(r"— (\S+) (\S+)", line)
        if match is None:
            raise NotVerified("a line below the note is no signature")
        data = from_base64(match.group(2), "a signature of the note")
        if len(data) < 5:
            raise NotVerified("a signature of the note is cut off")
        signatures.append((match.group(1), data[:4].hex(), data[4:]))
    return note[:end + 1], signatures


def is_signed_by(text, signatures, key):
    _, name, key_id, public_key = key
    own = [signature for n, i, signature in signatures if n == name and i == key_id]
    for signature in own:
        if not is_signature(public_key, text.encode(), signature):
            raise NotVerified(f"the signature of {name} (key {key_id}) is wrong")
    return len(own) > 0


def check_cosignatures(note, witnesses):
    """Each of these witnesses has signed the checkpoint, with a time (C2SP tlog-cosignature). Their names."""
    text, signatures = parse_note(note)
    for _, name, key_id, public_key in witnesses:
        own = [signature for n, i, signature in signatures if n == name and i == key_id]
        if not own:
            raise NotVerified(f"the checkpoint has no cosignature of the witness {name} (key {key_id})")
        for signature in own:
            message = f"cosignature/v1\ntime {int.from_bytes(signature[:8], 'big')}\n{text}"
            if not is_signature(public_key, message.encode(), signature[8:]):
                raise NotVerified(f"the cosignature of the witness {name} (key {key_id}) is wrong")
    return [name for _, name, _, _ in witnesses]


def number_of(digits, what):
    if not isinstance(digits, str) or re.fullmatch(r"(0|[1-9][0-9]{0,15})", digits, re.ASCII) is None:
        raise NotVerified(f"{what} is no number")
    return int(digits)


def parse_checkpoint(text):
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] != "" or lines[0] == "":
        raise NotVerified("this is not a checkpoint")
    root = from_base64(lines[2], "the checkpoint's root")
    if len(root) != 32:
        raise NotVerified("the checkpoint's root is not a SHA-256")
    return {"origin": lines[0], "size": number_of(lines[1], "the checkpoint's size"), "root": root}


def parse_own_note(text, title, count):
    lines = text.split("\n")
    if len(lines) != count + 1 or lines[0] != title or lines[-1] != "":
        raise NotVerified(f"this is not a note of a {title}")
    return lines[1:-1]


def parse_pruning(text):
    origin, size, root, time = parse_own_note(text, "mission-control pruning v1", 5)
    return {"origin": origin, "size": number_of(size, "a size"), "root": from_base64(root, "a root"), "time": time}


def parse_acknowledgement(text):
    title = "mission-control rollback acknowledgement v1"
    _, size, _, time, found, reason = parse_own_note(text, title, 7)
    return {"size": number_of(size, "a size"), "time": time, "found": found, "reason": reason}


class LogKeys:
    """The log's keys: the trusted one, those that follow it, and those before it, by rotations that both keys signed."""

    def __init__(self, trusted, rotations):
        self.keys = []
        newest = trusted
        for note in rotations:
            text, signatures = parse_note(note)
            old, new, size = parse_own_note(text, "mission-control key rotation v1", 4)
            old, new = parse_key(old), parse_key(new)
            if self.keys and old[0] != newest[0]:
                raise NotVerified("the log's rotations are not one chain")
            if old[1] != new[1]:
                raise NotVerified("a rotation cannot change the log's name")
            if not is_signed_by(text, signatures, old) or not is_signed_by(text, signatures, new):
                raise NotVerified("a rotation is not signed by both keys")
            self.keys.append((old, number_of(size, "a size")))
            newest = new
        self.keys.append((newest, None))
        self.trusted = next((n for n, (key, _) in enumerate(self.keys) if key[0] == trusted[0]), None)
        if self.trusted is None:
            raise NotVerified("the log never had this key")
        self.origin = newest[1]

    def open_checkpoint(self, note):
        text, signatures = parse_note(note)
        checkpoint = parse_checkpoint(text)
        if checkpoint["origin"] != self.origin:
            raise NotVerified(f"the checkpoint is of the log {checkpoint['origin']}, the key of {self.origin}")
        if not self._is_signed(text, signatures, checkpoint["size"], self.keys[self.trusted:]):
            raise NotVerified("the checkpoint is not signed by a key that is trusted for it")
        return checkpoint

    def open_note(self, note, parse):
        text, signatures = parse_note(note)
        told = parse(text)
        if not self._is_signed(text, signatures, told["size"], self.keys):
            raise NotVerified("a note of the log is not signed by a key that it had then")
        return told

    @staticmethod
    def _is_signed(text, signatures, size, keys):
        return any((until is None or size <= until) and is_signed_by(text, signatures, key) for key, until in keys)


# --- the Merkle tree (RFC 9162) ---

def leaf_hash(data):
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(hashes):
    """The root over complete subtrees, the largest first."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


def check_hashes(*hashes):
    if any(len(one) != 32 for one in hashes):
        raise NotVerified("a hash is not 32 bytes long")


def verify_inclusion(index, size, leaf, proof, root):
    check_hashes(leaf, root, *proof)
    if not 0 <= index < size:
        raise NotVerified(f"a tree of {size} leaves has none at index {index}")
    fn, sn, result = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise NotVerified("the proof is too long")
        if fn & 1 or fn == sn:
            result = node_hash(sibling, result)
            while fn & 1 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            result = node_hash(result, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or result != root:
        raise NotVerified("the proof does not lead to the tree's root")


def verify_consistency(first, second, proof, first_root, second_root):
    check_hashes(first_root, second_root, *proof)
    if not 0 <= first <= second:
        raise NotVerified(f"the tree has shrunk from {first} leaves to {second}")
    if first in (0, second):
        if proof or first_root != (root_of([]) if first == 0 else second_root):
            raise NotVerified("the trees are not the same")
        return
    if not proof:
        raise NotVerified("there is no proof")
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise NotVerified("the proof is too long")
        if fn & 1 or fn == sn:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while fn & 1 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or old != first_root or new != second_root:
        raise NotVerified("the proof does not lead to the trees' roots")


# --- entries: the bytes of a protobuf message, and its JSON ---

def read_varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise NotVerified("the bytes of an entry are not one")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & (2**64 - 1), at


def raw_fields(data):
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        if tag & 7 == 0:
            value, at = read_varint(data, at)
        elif tag & 7 == 2:
            length, at = read_varint(data, at)
            value, at = data[at:at + length], at + length
            if at > len(data):
                raise NotVerified("the bytes of an entry are not one")
        else:
            raise NotVerified("an entry has a field of a kind that is not known here")
        yield tag >> 3, value


def signed(value):
    return value - 2**64 if value >= 2**63 else value


def seconds_and_nanos(data):
    values = dict(raw_fields(data))
    nanos = signed(values.get(2, 0))
    digits = f"{abs(nanos):09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return signed(values.get(1, 0)), nanos, f".{digits}" if digits else ""


def timestamp(data):
    seconds, _, fraction = seconds_and_nanos(data)
    try:
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    except OverflowError:
        raise NotVerified("an entry's time is none") from None
    return moment.isoformat() + fraction + "Z"


def duration(data):
    seconds, nanos, fraction = seconds_and_nanos(data)
    return f"{'-' if nanos < 0 and seconds == 0 else ''}{seconds}{fraction}s"


def json_value(kind, value):
    if kind in ("string", "bytes") or "." in kind and not kind.startswith("enum "):
        if not isinstance(value, bytes):
            raise NotVerified("the bytes of an entry are not one")
    elif not isinstance(value, int):
        raise NotVerified("the bytes of an entry are not one")
    if kind == "string":
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise NotVerified("a text of an entry is not UTF-8") from None
    if kind == "bytes":
        return base64.b64encode(value).decode()
    if kind == "bool":
        return value != 0
    if kind == "int64":
        return str(signed(value))
    if kind == "int32":
        return signed(value)
    if kind.startswith("enum "):
        return ENUMS[kind[5:]].get(value, value)
    if kind == "google.protobuf.Timestamp":
        return timestamp(value)
    if kind == "google.protobuf.Duration":
        return duration(value)
    return decode(kind, value)


def is_default(kind, value):
    return value in ("", "0", False, 0) or kind.startswith("enum ") and value == ENUMS[kind[5:]][0]


def decode(name, data):
    """A message's proto3 JSON, from its bytes."""
    known, found = MESSAGES[name], {}
    for number, value in raw_fields(data):
        if number not in known:
            raise NotVerified(f"an entry has a field {number} that this script does not know: take a newer one")
        key, kind, is_list = known[number]
        one = json_value(kind, value)
        if is_list:
            found.setdefault(number, []).append(one)
        elif not isinstance(one, dict) and kind[:6] != "google" and is_default(kind, one):
            found.pop(number, None)
        else:
            found[number] = one
    return {known[number][0]: found[number] for number in sorted(found)}


# Where a personal value stands in an entry.
PERSONAL = {
    "SUBJECT": ("principal", "subject"),
    "TOKEN_ID": ("principal", "tokenId"),
    "SOURCE_ADDRESS": ("principal", "sourceAddress"),
    "REASON": (None, "reason"),
    "MESSAGE": (None, "message"),
    "DECISION_MESSAGE": ("decision", "message"),
    "REQUEST_DIGEST": (None, "requestDigest"),
    "REQUEST_SIGNATURE": (None, "requestSignature"),
}


def in_order(name, message):
    order = {key: number for number, (key, _, _) in MESSAGES[name].items()}
    return {key: message[key] for key in sorted(message, key=order.__getitem__)}


def reveal(entry, disclosures):
    """The entry with its personal values, each of which has to be one that it commits to."""
    entry = {**entry}
    commitments = iter(entry.get("commitments", []))
    for disclosure in disclosures:
        field = disclosure.get("field")
        commitment = next((one for one in commitments if one.get("field") == field), None)
        salt = from_base64(disclosure.get("salt", ""), "a salt")
        value = from_base64(disclosure.get("value", ""), "a value")
        hashed = base64.b64encode(hashlib.sha256(salt + value).digest()).decode()
        if commitment is None or commitment.get("hash") != hashed or field not in PERSONAL:
            raise NotVerified(f"the {field} told for entry {entry.get('sequence')} is not the one that it commits to")
        within, key = PERSONAL[field]
        text = disclosure["value"] if field == "REQUEST_DIGEST" else value.decode("utf-8", "replace")
        if within is None:
            entry[key] = text
        elif within in entry:
            name = "missioncontrol.v1." + within.capitalize()
            entry[within] = in_order(name, {**entry[within], key: text})
    verify_request_signature(entry)
    return in_order(ENTRY, entry)


def verify_request_signature(entry):
    """The caller's own signature, where there is one, is over this very request. Whose key it is, is for others to know."""
    if "requestSignature" not in entry:
        return
    text, signatures = parse_note(entry["requestSignature"])
    key, method, digest, _, _ = parse_own_note(text, "mission-control signed request v1", 6)
    if not is_signed_by(text, signatures, parse_key(key)):
        raise NotVerified("a signed request is not signed by the key that it names")
    if method != entry.get("method") or digest != entry.get("requestDigest", digest):
        raise NotVerified(f"the signature in entry {entry.get('sequence')} is of another request")


class OperatorSignatures:
    """Holds callers' own signatures against the operators' keys that are known; says how many it could not hold against any."""

    def __init__(self, text=""):
        self.known, self.checked, self.unknown, self.absent = {}, {}, 0, 0
        for number, line in enumerate(text.split("\n"), 1):
            parts = line.split()
            if not parts or parts[0].startswith("#"):
                continue
            if len(parts) not in (1, 3):
                raise NotVerified(f'line {number} of the operators\' keys is neither a key nor "ISSUER SUBJECT KEY"')
            owner = None if len(parts) == 1 else tuple(parts[:2])
            self.known.setdefault(parse_key(parts[-1])[0], []).append(owner)

    def take(self, entry):
        if "requestSignature" not in entry:
            commitments = entry.get("commitments", [])
            self.absent += any(one.get("field") == "REQUEST_SIGNATURE" for one in commitments)
            return
        key = parse_note(entry["requestSignature"])[0].split("\n")[1]
        principal = entry.get("principal", {})
        owners = self.known.get(key)
        if owners is None:
            self.unknown += 1
        elif None in owners or (principal.get("issuer"), principal.get("subject")) in owners:
            self.checked[key] = self.checked.get(key, 0) + 1
        else:
            raise NotVerified(f"entry {entry.get('sequence')} is signed by the key of {owners[0][1]}, who did not call")

    def report(self):
        return {"checked": self.checked, "unknown": self.unknown, "absent": self.absent}


# --- lines of an export ---

def to_json(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def csv_row(entry, data):
    cells = []
    for column in CSV_COLUMNS:
        value = entry
        for name in column.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, list):
            value = " ".join(value)
        text = "" if value is None else "true" if value is True else str(value)
        text = re.sub("[\x00-\x1f\x7f-\x9f]+", " ", text)
        cells.append(f"'{text}" if text[:1] in ("=", "+", "-", "@") and text else text)
    cells.append(data)
    return ",".join('"' + cell.replace('"', '""') + '"' if re.search('[",]', cell) else cell for cell in cells)


def only(value, kinds, place):
    """The object without empty values; it may have these keys and no others."""
    if not isinstance(value, dict) or any(key not in kinds or not isinstance(value[key], kinds[key]) for key in value):
        raise NotVerified(f"{place} is not a line of an export")
    return {key: value[key] for key in kinds if value.get(key) and value[key] != "0"}


LINES = {
    "begin": {"origin": str, "after": str, "range": list},
    "entry": {"sequence": str, "bytes": str, "entry": dict, "disclosures": list},
    "end": {"checkpoint": str, "keyRotations": list, "prunings": list, "acknowledgements": list},
}


@functools.lru_cache(maxsize=4096)
def parse_line(text, is_csv):
    """A line as (kind, what it says, the entry's leaf hash, the entry). The line may say nothing that is not in the bytes."""
    place = "a line"
    data = text
    if is_csv:
        start = text.rfind(',"{')
        if start == -1 or not text.endswith('"'):
            raise NotVerified("a row of the export has no data")
        data = text[start + 2:-1].replace('""', '"')
    try:
        line = json.loads(data)
        (kind, value), = line.items()
        said = only(value, LINES[kind], place)
    except (ValueError, KeyError, AttributeError, RecursionError):
        raise NotVerified("this is not a line of an export") from None
    for texts in (said.get(key, []) for key in ("range", "keyRotations", "prunings", "acknowledgements")):
        if not all(isinstance(one, str) for one in texts):
            raise NotVerified("this is not a line of an export")
    entry, hashed = None, None
    if kind == "entry":
        stored = from_base64(said.get("bytes", ""), "an entry")
        disclosures = [only(one, {"field": str, "salt": str, "value": str}, place) for one in said.get("disclosures", [])]
        entry, hashed = reveal(decode(ENTRY, stored), disclosures), leaf_hash(stored)
        if "entry" in said:
            said["entry"] = entry
        if disclosures:
            said["disclosures"] = disclosures
    written = to_json({kind: said})
    if (csv_row(entry or {}, written) if is_csv else written) != text:
        raise NotVerified("a line of the export was edited: it is not what its bytes say")
    return kind, said, hashed, entry


class Export:
    """An export, line by line."""

    def __init__(self, trusted, seen=(), after=0, operator_keys="", witnesses=()):
        self.trusted, self.asked, self.witnesses = trusted, after, witnesses
        self.signatures = OperatorSignatures(operator_keys)
        self.ahead = sorted(seen, key=lambda one: one["size"])
        self.begin = self.end = None
        self.is_csv = False
        self.size, self.hashes = 0, []
        self.told = self.committed = 0
        self.rotated = self.pruned = self.acknowledged = 0

    def line(self, text):
        if self.end is not None:
            raise NotVerified("something stands behind the checkpoint that ends the export")
        if text == CSV_HEADER and self.begin is None and not self.is_csv:
            self.is_csv = True
            return
        kind, said, hashed, entry = parse_line(text, self.is_csv)
        if (kind == "begin") != (self.begin is None):
            raise NotVerified("this is not an export from its beginning")
        if kind == "begin":
            self.start(said)
        elif kind == "end":
            self.end = said
        else:
            self.size += 1
            if entry.get("sequence") != str(self.size) or said.get("sequence") != str(self.size):
                raise NotVerified(f"entry {entry.get('sequence')} stands where entry {self.size} should be")
            self.append(hashed)
            self.compare()
            self.note(entry)
            self.signatures.take(entry)
            self.told += len(said.get("disclosures", []))
            self.committed += len(entry.get("commitments", []))

    def start(self, begin):
        self.begin = begin
        self.after = self.size = number_of(begin.get("after", "0"), "where the export begins")
        self.hashes = [from_base64(one, "a hash") for one in begin.get("range", [])]
        check_hashes(*self.hashes)
        if len(self.hashes) != bin(self.size).count("1"):
            raise NotVerified("the export does not say what is before it")
        self.begin_root = root_of(self.hashes)
        self.ahead = [one for one in self.ahead if one["size"] >= self.size]
        self.compare()

    def append(self, leaf):
        size = self.size - 1
        while size & 1:
            leaf = node_hash(self.hashes.pop(), leaf)
            size >>= 1
        self.hashes.append(leaf)

    def compare(self):
        while self.ahead and self.ahead[0]["size"] == self.size:
            seen = self.ahead.pop(0)
            if seen["root"] != root_of(self.hashes):
                raise NotVerified(f"the first {seen['size']} entries are not what they were when they were seen before")

    def note(self, entry):
        action, phase = entry.get("action"), entry.get("phase")
        self.rotated += phase == "OUTCOME" and action == "audit.rotate_key" and entry.get("resultCode") == "OK"
        self.pruned += phase == "SYSTEM" and action == "ledger.pruned"
        self.acknowledged += phase == "SYSTEM" and action == "ledger.rollback_acknowledged"

    def finish(self):
        if self.begin is None or self.end is None:
            raise NotVerified(f"the export was cut off behind entry {self.size}")
        rotations = self.end.get("keyRotations", [])
        keys = LogKeys(self.trusted, rotations)
        checkpoint = keys.open_checkpoint(self.end.get("checkpoint", ""))
        if checkpoint["size"] != self.size:
            raise NotVerified(f"the checkpoint covers {checkpoint['size']} entries, the export ends with {self.size}")
        if checkpoint["root"] != root_of(self.hashes):
            raise NotVerified("the entries are not those that the checkpoint was signed over")
        if self.begin.get("origin") != checkpoint["origin"]:
            raise NotVerified("the export says that it is of another log")
        if self.ahead:
            raise NotVerified(f"the ledger was rolled back: it had {self.ahead[0]['size']} entries, and has {self.size}")
        prunings = [keys.open_note(one, parse_pruning) for one in self.end.get("prunings", [])]
        notes = [keys.open_note(one, parse_acknowledgement) for one in self.end.get("acknowledgements", [])]
        if self.after != self.asked and not any(
            one["size"] == self.after and one["root"] == self.begin_root and one["origin"] == keys.origin
            for one in prunings
        ):
            raise NotVerified(f"no signed note says that the {self.after} entries before it were pruned")
        if self.rotated > len(rotations) or self.pruned > len(prunings) or self.acknowledged > len(notes):
            raise NotVerified("the ledger's entries tell of a signed note that is missing")
        for values in ([one["size"] for one in prunings], [one["time"] for one in notes]):
            if any(a >= b for a, b in zip(values, values[1:])):
                raise NotVerified("the log's notes are not in their order")
        entries = self.size - self.after
        result = {"origin": keys.origin, "treeSize": self.size, "entries": entries, "acknowledgements": notes}
        cosigned = check_cosignatures(self.end.get("checkpoint", ""), self.witnesses)
        result["personal"] = {"told": self.told, "missing": self.committed - self.told}
        return {**result, "cosignedBy": cosigned, "signatures": self.signatures.report()}


def verify_receipt(trusted, text, operator_keys="", witnesses=()):
    signatures = OperatorSignatures(operator_keys)
    try:
        receipt = json.loads(text)
        if not isinstance(receipt, dict):
            raise ValueError
        stored = from_base64(receipt.get("entry", ""), "the entry")
        proof = [from_base64(one, "a hash") for one in receipt.get("inclusionProof", [])]
        index = number_of(receipt.get("leafIndex", "0"), "the leaf's index")
        checkpoint = LogKeys(trusted, receipt.get("keyRotations", [])).open_checkpoint(receipt.get("checkpoint", ""))
        entry = reveal(decode(ENTRY, stored), receipt.get("disclosures", []))
    except (ValueError, TypeError, AttributeError):
        raise NotVerified("this is not a receipt") from None
    if entry.get("entryId") != receipt.get("entryId") or entry.get("sequence") != str(index + 1):
        raise NotVerified("the receipt is for another entry")
    verify_inclusion(index, checkpoint["size"], leaf_hash(stored), proof, checkpoint["root"])
    signatures.take(entry)
    result = {"origin": checkpoint["origin"], "treeSize": checkpoint["size"], "entry": entry}
    result["cosignedBy"] = check_cosignatures(receipt["checkpoint"], witnesses)
    return {**result, "signatures": signatures.report()}


# --- the command line ---

def lines_of(path):
    """The lines of a file; every one has to end with a line break, as an export that was cut off does not."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                raise NotVerified("the export was cut off in a line")
            try:
                yield line[:-1].decode("utf-8")
            except UnicodeDecodeError:
                raise NotVerified(f"line {number} is not UTF-8") from None


def run_vectors(path):
    """Runs Merkle vectors; returns those that did not come out as they should."""
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    wrong = []
    for vector in vectors:
        data = {key: base64.b64decode(vector[key]) for key in ("leafHash", "root", "root1", "root2") if key in vector}
        proof = [base64.b64decode(one) for one in vector["proof"]]
        try:
            if "leafHash" in data:
                verify_inclusion(vector["leafIdx"], vector["treeSize"], data["leafHash"], proof, data["root"])
            else:
                verify_consistency(vector["size1"], vector["size2"], proof, data["root1"], data["root2"])
            refused = False
        except NotVerified:
            refused = True
        if refused != vector["wantErr"]:
            wrong.append(vector["desc"])
    return {"vectors": len(vectors), "wrong": wrong}


def run_batch(stream):
    """Many variants of one export: first a line with its lines, then for each variant numbers of these, or other lines."""
    given = json.loads(stream.readline())
    trusted, seen = parse_key(given["key"]), [parse_checkpoint(parse_note(note)[0]) for note in given["seen"]]
    for variant in stream:
        export = Export(trusted, seen)
        try:
            for line in json.loads(variant):
                export.line(given["lines"][line] if isinstance(line, int) else line)
            export.finish()
            yield ""
        except NotVerified as error:
            yield str(error)


def main():
    parser = argparse.ArgumentParser(description="Verify exports and receipts of Mission Control's ledger.")
    parser.add_argument("--key", help="the log's public key, or a file with it")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="FILE", help="one that was seen before")
    parser.add_argument("--operator-keys", metavar="FILE", help='lines of KEY or "ISSUER SUBJECT KEY", of who signs calls')
    parser.add_argument("--witness-key", action="append", default=[], metavar="KEY", help="of who has to have signed as well")
    parser.add_argument("--after", type=int, default=0, help="the export was asked to begin behind this entry")
    parser.add_argument("what", choices=["export", "receipt", "vectors", "batch"])
    parser.add_argument("file", nargs="?")
    given = parser.parse_args()
    if given.what == "batch":
        for result in run_batch(sys.stdin):
            print(json.dumps(result))
        return 0
    if given.file is None:
        parser.error("name the file")
    if given.what == "vectors":
        result = run_vectors(given.file)
        print(to_json(result))
        return 1 if result["wrong"] else 0
    if given.key is None:
        parser.error("--key names the log's public key, or a file with it")
    try:
        if "+" in given.key:
            key = parse_key(given.key)
        else:
            with open(given.key, encoding="utf-8") as file:
                key = parse_key(file.read())
        witnesses = [parse_key(text, 4) for text in given.witness_key]
        operators = ""
        if given.operator_keys is not None:
            with open(given.operator_keys, encoding="utf-8") as file:
                operators = file.read()
        if given.what == "receipt":
            with open(given.file, encoding="utf-8") as file:
                result = verify_receipt(key, file.read(), operators, witnesses)
        else:
            seen = []
            for path in given.checkpoint:
                with open(path, encoding="utf-8") as file:
                    seen.append(parse_checkpoint(parse_note(file.read())[0]))
            export = Export(key, seen, given.after, operators, witnesses)
            for line in lines_of(given.file):
                export.line(line)
            result = export.finish()
        print(to_json({"verified": True, **result}))
        if result["signatures"]["unknown"]:
            unknown = result["signatures"]["unknown"]
            print(f"{unknown} signatures are by keys that were not given (--operator-keys): whose, was not checked", file=sys.stderr)
        return 0
    except NotVerified as error:
        print(f"NOT VERIFIED: {error}", file=sys.stderr)
        return 1
    except (OSError, UnicodeDecodeError) as error:
        print(f"verify.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
