"""Hostile files for the reader: structure-aware mutants, sealed again so that they reach the depth.

``python archive_mutants.py FOLDER SEED COUNT`` reads COUNT of them under an audit hook and
tracemalloc and prints a report as JSON.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import struct
import sys
import time
import tracemalloc
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from ctrain import archive, members

HEADER = {
    "step": 7,
    "rate": 1e-3,
    "seed": 2**127,
    "nodes": [
        {"op": "matmul", "inputs": ["x", "w"], "shape": [3]},
        {"op": "add", "inputs": ["z", "b"], "shape": [3], "attributes": {"axis": None}},
    ],
    "best": {"loss": 0.25, "epoch": 3, "done": False},
}
ARRAYS = {
    "w": np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3),
    "moments.1": np.array([np.nan, -0.0, 5e-324]),
    "loss": np.arange(5.0),
    "steps": np.array(7),
    "mask": np.array([True, False, True]),
    "none": np.empty((0, 3), dtype="float32"),
}


def schema(header: dict) -> dict:
    if type(header.get("step")) is not int:
        raise archive.CheckpointError("header without a step")
    return {
        "w": ("float32", (4, 3)),
        "moments.1": ("float64", (3,)),
        "loss": ("float64", (None,)),
        "steps": ("int64", ()),
        "mask": ("bool", (None,)),
        "none": ("float32", (None, 3)),
    }


class Part:
    """One member: its content, and what may be said about it against the truth."""

    def __init__(self, name: str, content: bytes, method: int = members.STORED):
        self.name, self.content, self.method = name, content, method
        self.packed = None  # else the bytes in the file
        self.lies = {}  # fields of Member


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def seal(body: bytes, form: int = archive.FORMAT) -> bytes:
    text = body + archive.SEAL.format(form).encode()
    return text + hashlib.sha256(text).hexdigest().encode()


def assemble(parts: list[Part], form: int = archive.FORMAT, gap: bytes = b"") -> bytes:
    """A file of these members: checksums, sizes, directory and digest fit, but for the lies."""
    body, found = b"", []
    for part in parts:
        packed = part.packed
        if packed is None:
            packed = part.content
            if part.method == members.DEFLATED:
                packed = b"".join(members.deflate([part.content]))
        name = part.name.encode("ascii", "replace").decode("ascii")[:65535]
        member = members.Member(
            name, part.method, zlib.crc32(part.content), len(packed), len(part.content), len(body)
        )._replace(**part.lies)
        body += members._local(member) + packed + gap
        found.append(member)
    n_comment = len(archive.SEAL.format(form)) + archive.N_DIGEST
    return seal(body + members._directory(found, len(body), n_comment), form)


def valid(rng: random.Random) -> tuple[list[Part], dict]:
    """Parts and contents of the header of a file that loads."""
    method = rng.choice((members.STORED, members.STORED, members.DEFLATED))
    table = {name: [array.dtype.name, list(array.shape)] for name, array in ARRAYS.items()}
    text = json.dumps({"header": HEADER, "arrays": table})
    parts = [Part(archive.HEADER, text.encode())]
    parts += [Part(f"{name}.npy", npy(array), method) for name, array in ARRAYS.items()]
    return parts, json.loads(text)


# ------------------------------------------------------------------ what is done to the members

NAMES = (
    "../w.npy", "/w.npy", "a/b.npy", "", "w", "w.npy.npy", "header.json", ".w.npy", "W.npy",
    "w\0.npy", "x" * 300 + ".npy", "con.npy", "w.pkl", "\\w.npy", "unknown.npy", "w .npy",
)  # fmt: skip
WIDE = (0, 1, 63, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)


def drop(rng, parts):
    del parts[rng.randrange(len(parts))]


def duplicate(rng, parts):
    parts.insert(rng.randrange(len(parts) + 1), rng.choice(parts))


def rename(rng, parts):
    rng.choice(parts).name = rng.choice(NAMES)


def reorder(rng, parts):
    rng.shuffle(parts)


def swap(rng, parts):
    one, two = rng.choice(parts), rng.choice(parts)
    one.content, two.content = two.content, one.content


def raw(rng, parts):
    rng.choice(parts).content = rng.randbytes(rng.choice((0, 1, 10, 128, 1000)))


def nested(rng, parts):
    rng.choice(parts).content = assemble(valid(rng)[0])


def lie(rng, parts):
    part, field = rng.choice(parts), rng.choice(("crc", "packed", "size", "method"))
    part.lies[field] = rng.choice((0, 1, 8, 12, 99)) if field == "method" else rng.choice(WIDE)


def deflated(rng, parts):
    part = rng.choice(parts)
    part.method = members.DEFLATED
    if rng.random() < 0.5:
        stream = bytearray(b"".join(members.deflate([part.content])))
        stream[rng.randrange(len(stream))] ^= 1 << rng.randrange(8)
        part.packed = bytes(stream) + rng.choice((b"", b"\0", rng.randbytes(20)))


def bomb(rng, parts):
    part = rng.choice(parts[1:] or parts)
    part.method = members.DEFLATED
    part.content += b"\0" * rng.choice((1 << 10, 1 << 16, 1 << 22))


def truncate(rng, parts):
    part = rng.choice(parts)
    part.content = part.content[: rng.randrange(len(part.content) + 1)]


def extend(rng, parts):
    rng.choice(parts).content += rng.randbytes(rng.choice((1, 4, 8, 64)))


def overwrite(rng, parts):
    """Other values, the same structure: the only kind that mostly loads."""
    part = rng.choice(parts[1:] or parts)
    data = bytearray(part.content)
    for at in range(min(len(data), 128), len(data)):
        data[at] = rng.choice((0, 1, 255))
    part.content = bytes(data)


# ------------------------------------------------------------ what is done to the .npy headers

DESCRS = (
    "'|O'", "'<c8'", "'<f2'", "'>f4'", "'<f8'", "'<U4'", "'|V8'", "[('a', '<f4')]", "'<M8[s]'",
    "__import__('os').system('true')", "'<f4'*9", "None", "('<f4', (2,))",
)  # fmt: skip
SHAPES = (
    [2**31], [2**32], [2**62, 4], [2**63 - 1], [2**63], [2**64 + 12], [-1], [-4, -3], [0] * 40,
    [1] * 33, [2**32, 2**32], [4, 3, 0, 2**62], [True, 12], [12.0], ["12"], [[12]], 12, None, [],
    [12], [3, 4], [1e300], [10**45],
)  # fmt: skip


def swell(rng, parts, contents):
    """Zeros that fit, around the most that may be allocated for a small file."""
    n = rng.choice((10**6, 5 * 10**6, 7 * 10**6, 9 * 10**6))
    contents["arrays"]["loss"] = ["float64", [n]]
    parts[0].content = json.dumps(contents).encode()
    parts[3] = Part("loss.npy", npy(np.zeros(n)), members.DEFLATED)


def npy_text(rng, parts):
    part = rng.choice(parts[1:] or parts)
    descr = rng.choice(("'<f4'", *DESCRS))
    order, shape = rng.choice(("False", "True", "0")), rng.choice(((4, 3), *SHAPES))
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    text = text.ljust(rng.choice((117, 53, 200))) + "\n"
    version = rng.choice((b"\1\0", b"\2\0", b"\3\0", b"\0\0"))
    part.content = b"\x93NUMPY" + version + struct.pack("<H", len(text) + rng.choice((0, 0, 1)))
    part.content += text.encode() + bytes(rng.choice((0, 12, 48, 96)))


def npy_byte(rng, parts):
    part = rng.choice(parts[1:] or parts)
    data = bytearray(part.content or b"\0")
    data[rng.randrange(min(128, len(data)))] ^= 1 << rng.randrange(8)
    part.content = bytes(data)


# ------------------------------------------------------------------------ what is done to JSON

VALUES = (
    None, True, -1, 0, 1.5, "", "x", [], {}, [[]], {"a": {}}, 2**63, 10**39, 1e308, "\ud800",
    float("nan"), float("inf"), "__import__('os')", {"__class__": "os.system", "__reduce__": []},
)  # fmt: skip


def places(value, found: list) -> list:
    """(container, key) of every value in a tree."""
    for key in value if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], (dict, list)):
            places(value[key], found)
    return found


def json_value(rng, contents):
    container, key = rng.choice(places(contents["header"], []))
    container[key] = rng.choice(VALUES)


def json_drop(rng, contents):
    container, key = rng.choice(places(contents, []))
    del container[key]


def json_table(rng, contents):
    name = rng.choice(list(ARRAYS))
    contents["arrays"][name] = rng.choice((
        [rng.choice((*archive.DTYPES, "object", "c8", "O", "<f4", 4, None, [], "V8")), [4, 3]],
        ["float32", rng.choice(SHAPES)],
        ["float64", rng.choice(SHAPES)],
        rng.choice(VALUES),
    ))  # fmt: skip


def json_reshape(rng, contents):
    """Another shape of as many bytes: only the schema or the .npy header can tell."""
    name = rng.choice(list(ARRAYS))
    dtype, shape = ARRAYS[name].dtype.name, list(ARRAYS[name].shape)
    contents["arrays"][name] = [dtype, rng.choice((shape[::-1], [*shape, 1], [ARRAYS[name].size]))]


def json_rename(rng, contents):
    table = contents["arrays"]
    table[rng.choice(NAMES)] = table.pop(rng.choice(list(ARRAYS)))


TEXTS = (
    lambda rng, text: text[: rng.randrange(len(text))],
    lambda rng, text: text + rng.choice((" ", "0", "{}", "\0", "]")),
    lambda rng, text: text.replace('"step"', '"rate"'),
    lambda rng, text: text.replace('"w":', '"loss":'),
    lambda rng, text: text.replace("7", "7" * rng.choice((39, 41, 5000)), 1),
    lambda rng, text: text.replace("7", rng.choice(("1e999", "-0", "NaN", "0x7", "07", "1_0")), 1),
    lambda rng, text: text.replace("7", nest(rng, rng.choice((3, 61, 63, 200, 5000))), 1),
    lambda rng, text: text.replace("7", crowd(rng), 1),
    lambda rng, text: text.replace("matmul", rng.choice(("\xe9", "\\ud83d\\ude00", "\\u00", "\n"))),
    lambda rng, text: text.encode("utf-16").decode("latin-1"),
    lambda rng, text: "[" + text + "]",
)


def nest(rng, depth: int) -> str:
    return "[" * depth + "]" * depth if rng.random() < 0.5 else '{"":' * depth + "0" + "}" * depth


def crowd(rng) -> str:
    """Many small objects, whose Python form is many times their text."""
    unit = rng.choice(("[],", "{},", '{"":0},', '"ab",', "1.5,", "0,", "300,", '"\\ud83d\\ude00",'))
    return "[" + unit * rng.choice((10, 100, 1000, 1000, 1000, 30_000)) + "0]"


# ------------------------------------------------------------------------------------ a mutant

OF_MEMBERS = (
    drop, duplicate, rename, reorder, swap, raw, nested, lie, deflated, bomb, truncate, extend,
    overwrite, overwrite, overwrite, npy_text, npy_text, npy_byte, npy_byte,
)  # fmt: skip
OF_JSON = (json_value, json_value, json_drop, json_table, json_table, json_reshape, json_rename)


def mutant(rng: random.Random) -> bytes:
    """One file; nine in ten are sealed again after what was done to them."""
    parts, contents = valid(rng)
    form, gap = archive.FORMAT, b""
    if rng.random() < 0.001:
        swell(rng, parts, contents)
        return assemble(parts)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.random()
        if kind < 0.45:
            if parts:
                rng.choice(OF_MEMBERS)(rng, parts)
        elif kind < 0.8:
            try:
                rng.choice(OF_JSON)(rng, contents)
            except (KeyError, TypeError, IndexError, AttributeError):
                continue  # an earlier change took the place away
            text = json.dumps(contents)
            if parts:
                parts[0].content = text.encode()
        elif kind < 0.92 and parts:
            text = parts[0].content.decode("latin-1") or "7"
            parts[0].content = rng.choice(TEXTS)(rng, text).encode("latin-1", "replace")
        elif kind < 0.95:
            form = rng.choice((0, 2, 3, 999_999_999))
        elif kind < 0.97:
            gap = rng.randbytes(rng.choice((1, 4, 30)))
    data = assemble(parts, form, gap)
    if rng.random() < 0.1:  # damage, half of it sealed again
        bytes_ = bytearray(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))])
        if bytes_:
            bytes_[rng.randrange(len(bytes_))] ^= 1 << rng.randrange(8)
        data = bytes(bytes_)
        if rng.random() < 0.5:
            data = seal(data[: max(0, len(data) - len(archive.SEAL.format(1)) - 64)])
    return data


# ---------------------------------------------------------------------------------- a campaign

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
STAGES = (
    ("digest", "_unseal"),
    ("zip", "parse"),
    ("header", "_contents"),
    ("table", "_check_table"),
)


def count_stages(funnel: Counter) -> None:
    """Let each stage of the reader count what comes out of it."""

    def counted(function, stage):
        def call(*arguments):
            result = function(*arguments)
            funnel[stage] += 1
            return result

        return call

    for stage, name in STAGES:
        module = members if name == "parse" else archive
        setattr(module, name, counted(getattr(module, name), stage))


def fits(header: dict, arrays: dict) -> bool:
    """Whether what was read is what the schema promises, looked at from outside."""
    plain = json.dumps(header) and type(header["step"]) is int
    return plain and all(
        type(arrays[name]) is np.ndarray
        and arrays[name].dtype == np.dtype(dtype)
        and arrays[name].ndim == len(shape)
        and all(axis in (None, n) for axis, n in zip(shape, arrays[name].shape, strict=True))
        for name, (dtype, shape) in schema(header).items()
    )


def campaign(folder: Path, seed: int, count: int) -> dict:
    """What happened to `count` mutants; "wrong" lists the promises that were broken."""
    path = str(folder / f"mutant-{seed}.npz")
    rng, funnel, refusals, wrong, events = random.Random(seed), Counter(), Counter(), [], []
    watching = False

    def watch(event, arguments):
        reading = event == "open" and arguments[0] == path and not arguments[2] & WRITING
        if watching and not reading:
            events.append(f"{event} {arguments!r}"[:200])

    count_stages(funnel)
    sys.addaudithook(watch)
    most, longest = 0.0, 0.0
    for number in range(count):
        data = mutant(rng)
        Path(path).unlink(missing_ok=True)  # a disk is slower to truncate
        Path(path).write_bytes(data)
        for traced in (True, False):  # tracing makes reading several times slower
            outcome, peak = None, 0
            if traced:
                tracemalloc.start()
            started, watching = time.thread_time(), True
            try:
                outcome = archive.read(path, schema)
            except archive.CheckpointError as error:
                watching = False
                refusals[str(error).removeprefix(path)[2:26]] += traced
            except Exception as error:
                watching = False
                wrong.append(f"mutant {number} of seed {seed}: {error!r}")
            watching = False
            seconds = time.thread_time() - started
            if traced:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                most = max(most, peak / max(64 << 20, 4 * len(data)))
            else:
                longest = max(longest, seconds)
            if (seconds > 1 and not traced) or peak > max(64 << 20, 4 * len(data)):
                wrong.append(f"mutant {number} of seed {seed}: {seconds:.2f} s, {peak} bytes")
        if outcome is not None:
            funnel["loaded"] += 1
            if not fits(*outcome):
                wrong.append(f"mutant {number} of seed {seed}: loaded, and does not fit")
    return {
        "count": count,
        "funnel": {"made": count, **{stage: funnel[stage] // 2 for stage, _ in STAGES},
                   "loaded": funnel["loaded"]},
        "kinds of refusal": len(refusals),
        "longest": longest,
        "most of the allowed memory": most,
        "events": sorted(set(events)),
        "wrong": wrong,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(campaign(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))))
