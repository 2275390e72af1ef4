"""One safe file of named arrays and a JSON header: what a checkpoint is on disk.

A file is a zip archive that ``numpy.load`` opens too: ``header.json``, then one ``<name>.npy`` for
each array, and the zip comment, which ends in a digest of every byte before it. There is exactly
one way to spell given contents: the reader takes names, sizes and checksums from the bytes,
builds the structure around them anew and compares. So nothing can hide between members, no
``.npy`` header is ever interpreted, and no array is built before the sum of all allocations is
known.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from . import members, storage
from .members import BLOCK, STORED, CheckpointError, Member, n_bytes

FORMAT = 1  # of what this ctrain writes, and the newest that it reads

#: what an array may hold
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip

#: the name of an array: no path, no hidden file
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")

MAX_DIMENSIONS = 32
MAX_HEADER = 1 << 24  # bytes of JSON
MAX_DEPTH = 64  # of lists and dicts in each other
MAX_DIGITS = 40  # of an integer: 128 bits and a sign

# Reading a file of n bytes allocates less than max(FLOOR, FACTOR * n) bytes.
FLOOR = 64 << 20
FACTOR = 4

HEADER = "header.json"
SEAL = "ctrain checkpoint, format {}, sha256 "
SEALED = re.compile(SEAL.format("([1-9][0-9]{0,8})").encode() + rb"([0-9a-f]{64})\Z")
N_DIGEST = 64  # hexadecimal digits
N_SEAL = len(SEAL) + 9 + N_DIGEST  # at most

Schema = Callable[[dict], Mapping[str, tuple]]


# ------------------------------------------------------------------------------ the two verbs


def write(
    path, header: dict, arrays: Mapping[str, np.ndarray], compress: bool = False, made: int = 0
) -> None:
    """Write a file that appears under its name complete, or not at all.

    The bytes go to a new file in the same folder, are synced, renamed, and the folder is synced. A
    failure removes the new file and leaves the old one as it was. Equal contents make equal bytes.

    Parameters
    ----------
    path : str or path-like
        A file, or a URL such as ``"s3://bucket/model.npz"`` (extra ``cloud``).
    header : dict
        JSON: ``dict`` with ``str`` keys, ``list``, ``str``, ``int`` up to 128 bits, ``float`` (NaN
        and infinities too), ``bool``, ``None``.
    arrays : mapping of str to ndarray
        Booleans, integers and floats. They must not change during the call.
    compress : bool
        Deflate the arrays. Zeros shrink; weights hardly do.

    Raises
    ------
    OSError
        The file cannot be written: no such folder, no permission, no space.
    TypeError, ValueError
        `header` or `arrays` hold what a file cannot.
    """
    pieces = _spell(header, arrays, compress, made)

    def digest() -> bytes:
        whole = hashlib.sha256()
        for piece in pieces:
            whole.update(piece)
        return whole.hexdigest().encode("ascii")

    storage.save(path, pieces, digest)


def read(
    path, schema: Schema, made: Callable[[dict], int] = lambda header: 0
) -> tuple[dict, dict[str, np.ndarray]]:
    """Read header and arrays. No code of the file's choice runs, and memory is bounded.

    Parameters
    ----------
    path : str or path-like
        A file or a URL.
    schema : callable
        ``schema(header)`` returns ``{name: (dtype, shape)}`` of the arrays that such a header
        needs; ``None`` in a shape stands for any length. It raises `CheckpointError` for a header
        that it does not like.
    made : callable, default=none
        ``made(header)`` is how many bytes the caller will make of the arrays, beside them.

    Returns
    -------
    header : dict
    arrays : dict of str to ndarray
        In the order of the file, with the bits, dtypes and shapes that were written.

    Raises
    ------
    CheckpointError
        The file is foreign, damaged or too new, does not fit the schema, or would take more
        than ``max(64 MB, 4 * its size)`` of memory.
    OSError
        The file cannot be opened.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from ctrain import archive
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "model.npz")
    >>> archive.write(path, {"step": 7}, {"weights": np.ones((2, 3), dtype="float32")})
    >>> header, arrays = archive.read(path, lambda header: {"weights": ("float32", (2, None))})
    >>> header["step"], arrays["weights"].shape
    (7, (2, 3))
    >>> archive.read(path, lambda header: {"weights": ("float64", (2, 3))})
    Traceback (most recent call last):
    ...
    ctrain.members.CheckpointError: ...: array 'weights' is float32 (2, 3), not float64 (2, 3)
    >>> folder.cleanup()
    """
    try:
        body, n_comment = _unseal(storage.load(path, N_SEAL, _seal))
        found = members.parse(body, n_comment)
        header, table = _contents(body, found)
        _check_table(table, schema(header))
        _check_cost(_cost(len(body), "", [m.size for m in found], made(header)), len(body))
        return header, {
            name: _array(body, member, *spec)
            for member, (name, spec) in zip(found[1:], table.items(), strict=True)
        }
    except CheckpointError as error:
        raise CheckpointError(f"{os.fspath(path)}: {error}") from None


# ----------------------------------------------------------------------------------- spelling


def _spell(header: dict, arrays: Mapping, compress: bool, made: int = 0) -> list:
    """All bytes of a file but the digest, as a list of buffers."""
    text, contents = _checked(header, arrays)
    parts = {HEADER: ([text.encode("ascii")],) * 2}
    for name, array in contents.items():
        head = _npy_header(array.dtype.name, array.shape)
        plain = [head, *_blocks(array)]
        parts[f"{name}.npy"] = (plain, members.deflate(plain) if compress else plain)
    sizes = {name: n_bytes(plain) for name, (plain, _) in parts.items()}
    n_file = sum(n_bytes(packed) for _, packed in parts.values())
    smallest = sorted(sizes, key=sizes.get)
    # 600 bytes are more than the zip archive says about a member
    while _cost(n_file + 600 * len(sizes), text, sizes.values(), made) > _budget(n_file):
        if not smallest:
            raise ValueError("the header is too large for so few arrays; put lists into arrays")
        name = smallest.pop()  # what shrinks too well would look like a bomb
        plain, packed = parts[name]
        n_file += sizes[name] - n_bytes(packed)
        parts[name] = (plain, plain)
    seal = SEAL.format(FORMAT).encode("ascii")
    return [*members.spell(parts, len(seal) + N_DIGEST), seal]


def _checked(header: dict, arrays: Mapping) -> tuple[str, dict[str, np.ndarray]]:
    """The JSON text and the arrays as they lie in the file, of what a file can hold."""
    if type(header) is not dict:
        raise TypeError(f"header is a {type(header).__name__}, not a dict")
    _check_values(header)
    if len(arrays) >= members.MAX_MEMBERS:
        raise ValueError(
            f"a file holds at most {members.MAX_MEMBERS - 1} arrays, not {len(arrays)}"
        )
    contents = {}
    for name, array in arrays.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(
                f"array name {name!r}: a name has 1 to 200 letters, digits or _.+- and begins "
                "with a letter, a digit or _"
            )
        array = np.asarray(array)
        if array.dtype.name not in DTYPES:
            raise TypeError(f"array {name!r} is {array.dtype}; it must be one of {DTYPES}")
        if not _is_shape(list(array.shape)):
            raise ValueError(f"array {name!r} has the shape {array.shape}, which is not read back")
        contents[name] = np.asarray(array, dtype=_in_file(array.dtype.name), order="C")
    table = {name: [array.dtype.name, list(array.shape)] for name, array in contents.items()}
    text = json.dumps({"header": header, "arrays": table}, separators=(",", ":"))
    if len(text) > MAX_HEADER:
        raise ValueError(
            f"the header has {len(text)} characters of JSON, more than {MAX_HEADER}; put lists "
            "into arrays"
        )
    return text, contents


def _check_values(value, place: tuple = ("header", None), depth: int = 1) -> None:
    """Raise unless `value` is a dict or list that JSON gives back as it is."""
    if type(value) is dict:
        items = value.items()
    elif type(value) is list:
        items = enumerate(value)
    else:
        raise TypeError(
            f"{_spelled(place)} is a {type(value).__name__}; a header holds dict, list, str, int, "
            "float, bool and None"
        )
    if depth > MAX_DEPTH:
        raise ValueError(f"{_spelled(place)}: nested more than {MAX_DEPTH} times")
    for key, item in items:
        if type(value) is dict and type(key) is not str:
            raise TypeError(f"{_spelled(place)}: key {key!r} is a {type(key).__name__}, not a str")
        if type(item) is int:
            if abs(item) >= 10**MAX_DIGITS:
                raise ValueError(f"{_spelled((key, place))}: more than {MAX_DIGITS} digits")
        elif item is not None and type(item) not in (str, float, bool):
            _check_values(item, (key, place), depth + 1)


def _spelled(place: tuple) -> str:
    """header['a'][3] of (3, ("a", ("header", None)))."""
    keys = []
    while place is not None:
        keys.append(place[0])
        place = place[1]
    return keys[-1] + "".join(f"[{repr(key)[:40]}]" for key in keys[-2::-1])


def _in_file(dtype: str) -> np.dtype:
    return np.dtype(dtype).newbyteorder("<")


def _npy_header(dtype: str, shape: Sequence[int]) -> bytes:
    """First bytes of a ``.npy`` file, version 1.0, with room to align the data to 64 bytes."""
    text = (
        f"{{'descr': {_in_file(dtype).str!r}, 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    )
    n_text = -(-(10 + len(text) + 1) // 64) * 64 - 10
    return b"\x93NUMPY\1\0" + struct.pack("<H", n_text) + text.ljust(n_text - 1).encode() + b"\n"


def _blocks(array: np.ndarray) -> list[memoryview]:
    """The bytes in pieces: between two of them Python looks for signals."""
    content = memoryview(array.reshape(-1).view(np.uint8))
    return [content[at : at + BLOCK] for at in range(0, len(content), BLOCK)]


def _cost(n_file: int, text: str, sizes, made: int = 0) -> int:
    """Bytes that reading allocates at most.

    Objects of the header, arrays, and beside these first the file and then, when that is gone, what
    is made of them.
    """
    strings = (5 if "\\u" in text else 2) * len(text)
    objects = (
        64 * (text.count(",") + text.count("["))
        + 240 * text.count(":")
        + 256 * text.count("{")
        + 3000 * len(sizes)
    )
    return max(n_file, made) + strings + objects + sum(sizes) + BLOCK


def _budget(n_file: int) -> int:
    return max(FLOOR, FACTOR * n_file)


def _check_cost(cost: int, n_file: int) -> None:
    if cost > _budget(n_file):
        raise CheckpointError(
            f"reading its {n_file} bytes would take {cost} bytes of memory, beyond the limit of "
            f"{_budget(n_file)}"
        )


# ------------------------------------------------------------------------------------ reading


def _seal(data: bytes) -> re.Match:
    found = SEALED.search(data, max(0, len(data) - N_SEAL))
    if found is None:
        raise CheckpointError("not a checkpoint of ctrain, or one cut short")
    return found


def _unseal(data: bytes) -> tuple[memoryview, int]:
    """The bytes before the zip comment and the comment's length, if the digest is right."""
    seal = _seal(data)
    digest = hashlib.sha256(memoryview(data)[:-N_DIGEST]).hexdigest()
    if digest.encode() != seal[2]:
        raise CheckpointError(
            f"damaged: its {len(data)} bytes have the digest {digest[:16]}..., and it says "
            f"{seal[2][:16].decode()}...; take another copy"
        )
    if int(seal[1]) > FORMAT:
        raise CheckpointError(
            f"written in format {int(seal[1])}, and this ctrain reads up to format {FORMAT}; "
            "upgrade ctrain"
        )
    return memoryview(data)[: seal.start()], len(data) - seal.start()


def _contents(body: memoryview, found: Sequence[Member]) -> tuple[dict, dict]:
    """The header and ``{name: (dtype, shape)}``, if all members are as these say."""
    if not found or found[0].name != HEADER or found[0].method != STORED:
        raise CheckpointError(f"its first member is not {HEADER}")
    if found[0].size > MAX_HEADER:
        raise CheckpointError(f"{HEADER} has {found[0].size} bytes, more than {MAX_HEADER}")
    (content,) = members.content(body, found[0])
    if zlib.crc32(content) != found[0].crc or found[0].packed != found[0].size:
        raise CheckpointError(f"{HEADER} has another checksum or size than its zip archive says")
    sizes = [member.size for member in found]
    try:
        text = str(content, "ascii")
        _check_cost(_cost(len(body), text, sizes), len(body))
        contents = json.loads(text, object_pairs_hook=_unique, parse_int=_integer)
        _check_values(contents, depth=0)
    except (ValueError, TypeError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{HEADER}: {error}") from None
    if type(contents) is not dict or list(contents) != ["header", "arrays"]:
        raise CheckpointError(f"{HEADER} does not hold 'header' and 'arrays'")
    header, arrays = contents.values()
    if type(header) is not dict or type(arrays) is not dict:
        raise CheckpointError(f"{HEADER}: 'header' and 'arrays' are not both objects")
    if [member.name for member in found[1:]] != [f"{name}.npy" for name in arrays]:
        raise CheckpointError(f"the arrays in its zip archive are not those of {HEADER}")
    table = {name: _spec(name, spec) for name, spec in arrays.items()}
    for member, spec in zip(found[1:], table.values(), strict=True):
        n_bytes = len(_npy_header(*spec)) + math.prod(spec[1]) * np.dtype(spec[0]).itemsize
        if member.size != n_bytes or (member.method == STORED and member.packed != n_bytes):
            raise CheckpointError(
                f"{member.name} has {member.size} bytes, and {spec[0]} {spec[1]} takes {n_bytes}"
            )
    return header, table


def _unique(pairs: list[tuple]) -> dict:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"an integer has more than {MAX_DIGITS} digits")
    return int(digits)


def _spec(name: str, spec) -> tuple[str, tuple[int, ...]]:
    """dtype and shape of one entry of the header's table."""
    if not NAME.fullmatch(name):
        raise CheckpointError(f"array name {name[:80]!r} is not one")
    if type(spec) is not list or len(spec) != 2 or spec[0] not in DTYPES:
        raise CheckpointError(f"array {name!r} has no dtype that may be read")
    if not _is_shape(spec[1]):
        raise CheckpointError(f"array {name!r} has no shape that an array can have")
    return spec[0], tuple(spec[1])


def _is_shape(shape) -> bool:
    return (
        type(shape) is list
        and len(shape) <= MAX_DIMENSIONS
        and all(type(n) is int and n >= 0 for n in shape)
        and math.prod(max(n, 1) for n in shape) * 8 <= sys.maxsize
    )


def _check_table(table: Mapping[str, tuple], expected: Mapping[str, tuple]) -> None:
    """Raise unless the file's arrays are those that the schema asks for."""
    for verb, names in (
        ("lacks", expected.keys() - table),
        ("has unknown", table.keys() - expected),
    ):
        if names:
            raise CheckpointError(f"it {verb} arrays: {', '.join(sorted(names))[:200]}")
    for name, (dtype, shape) in table.items():
        wanted, axes = np.dtype(expected[name][0]).name, tuple(expected[name][1])
        if (
            dtype != wanted
            or len(shape) != len(axes)
            or any(axis not in (None, n) for n, axis in zip(shape, axes, strict=True))
        ):
            raise CheckpointError(f"array {name!r} is {dtype} {shape}, not {wanted} {axes}")


def _array(body: memoryview, member: Member, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of one member."""
    content, crc, at = np.empty(member.size, np.uint8), 0, 0
    for piece in members.content(body, member):
        if len(piece) > len(content) - at:
            raise CheckpointError(f"{member.name} is longer than the {member.size} bytes it says")
        content[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        crc, at = zlib.crc32(piece, crc), at + len(piece)
    if at != len(content) or crc != member.crc:
        raise CheckpointError(f"{member.name} has another checksum or size than its archive says")
    head = _npy_header(dtype, shape)
    if content[: len(head)].tobytes() != head:
        raise CheckpointError(f"{member.name} does not begin as {dtype} {shape} does")
    data = content[len(head) :]
    if dtype == "bool" and data.size and data.max() > 1:
        raise CheckpointError(f"{member.name} holds booleans that are neither 0 nor 1")
    return data.view(_in_file(dtype)).reshape(shape).astype(dtype, copy=False)
