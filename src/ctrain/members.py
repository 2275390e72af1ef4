"""The members of a zip archive, spelled in the one way that `spell` knows.

The reader takes names, sizes and checksums from the bytes, builds the structure around them anew
and compares, so nothing can hide before, between or behind the members.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

STORED, DEFLATED = 0, 8
FULL = 0xFFFFFFFF  # in a field of 4 bytes: see the zip64 field
LIMIT = FULL  # sizes and offsets from here on need zip64
NEW_YEAR = 0x21  # 1980-01-01: equal contents make equal files
LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
END_WIDE, LOCATOR = b"PK\6\6", b"PK\6\7"
LOCAL_FIELDS, CENTRAL_FIELDS, END_FIELDS = "<4s5H3L2H", "<4s6H3L5H2L", "<4s4H2LH"
END_WIDE_FIELDS, LOCATOR_FIELDS = "<4sQ2H2L4Q", "<4sLQL"
MAX_MEMBERS = 10_001
BLOCK = 1 << 20


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, comes from a newer ctrain or does not fit.

    The one exception for what is in a file. A file that is missing, or must not be read, is an
    ``OSError`` as everywhere.

    Examples
    --------
    >>> from ctrain import archive
    >>> archive.read(archive.__file__, schema=lambda header: {})
    Traceback (most recent call last):
    ...
    ctrain.members.CheckpointError: ...archive.py: not a checkpoint of ctrain, or one cut short
    """


class Member(NamedTuple):
    """What a zip archive says about one of its members."""

    name: str
    method: int
    crc: int
    packed: int  # bytes in the file
    size: int  # bytes of the content
    offset: int


def spell(parts: Mapping[str, tuple], n_comment: int) -> list:
    """All bytes of an archive but its comment, as a list of buffers.

    `parts` has the buffers of each member, and those that go into the file: the same list, or one
    that `deflate` made.
    """
    pieces, members, at = [], [], 0
    for name, (content, packed) in parts.items():
        crc = 0
        for piece in content:
            crc = zlib.crc32(piece, crc)
        method = STORED if packed is content else DEFLATED
        member = Member(name, method, crc, n_bytes(packed), n_bytes(content), at)
        pieces += [_local(member), *packed]
        members.append(member)
        at += len(_local(member)) + member.packed
    return [*pieces, _directory(members, at, n_comment)]


def parse(body: memoryview, n_comment: int) -> list[Member]:
    """The members of an archive, given all its bytes but the comment's."""
    members, at, n_fields = [], 0, struct.calcsize(LOCAL_FIELDS)
    while body[at : at + 4] == LOCAL:
        fields = body[at : at + n_fields]
        if len(fields) < n_fields or len(members) == MAX_MEMBERS:
            raise CheckpointError(f"its zip archive ends in a member, or has over {MAX_MEMBERS}")
        (*_, method, _, _, crc, packed, size, n_name, n_extra) = struct.unpack(LOCAL_FIELDS, fields)
        name = bytes(body[at + n_fields :][:n_name])
        extra = body[at + n_fields + n_name :][:n_extra]
        if (packed, size, len(extra)) == (FULL, FULL, 20):
            size, packed = struct.unpack("<2Q", extra[4:])
        if method not in (STORED, DEFLATED) or not name.isascii():
            raise CheckpointError(f"its zip archive has a member {name[:80]!r} of a foreign kind")
        member = Member(name.decode("ascii"), method, crc, packed, size, at)
        head = _local(member)
        start = at + len(head)
        if body[at:start] != head or packed > len(body) - start:
            raise CheckpointError(f"its zip archive spells member {member.name[:80]!r} wrongly")
        members.append(member)
        at = start + packed
    if body[at:] != _directory(members, at, n_comment):
        raise CheckpointError("its zip archive has a directory that does not fit its members")
    return members


def content(body: memoryview, member: Member) -> Iterator:
    """A member's content in pieces; a deflated one in small ones, which the caller counts."""
    start = member.offset + len(_local(member))
    packed = body[start : start + member.packed]
    if member.method == STORED:
        yield packed
        return
    stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        for at in range(0, len(packed), BLOCK):
            piece = stream.decompress(packed[at : at + BLOCK], BLOCK)
            while piece:
                yield piece
                piece = stream.decompress(stream.unconsumed_tail, BLOCK)
    except zlib.error as error:
        raise CheckpointError(f"{member.name} cannot be inflated: {error}") from None
    if not stream.eof or stream.unused_data:
        raise CheckpointError(f"{member.name} is deflated and does not end where it should")


def deflate(pieces: Sequence) -> list[bytes]:
    """What goes into the file for these buffers."""
    stream = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
    return [*(stream.compress(piece) for piece in pieces), stream.flush()]


def n_bytes(pieces: Sequence) -> int:
    """The length of all buffers together."""
    return sum(map(len, pieces))


def _local(member: Member) -> bytes:
    """What stands before a member's content."""
    name = member.name.encode("ascii")
    packed, size, extra, version = member.packed, member.size, b"", 20
    if max(packed, size) >= LIMIT:
        extra = struct.pack("<2H2Q", 1, 16, size, packed)
        packed, size, version = FULL, FULL, 45
    fields = struct.pack(
        LOCAL_FIELDS, LOCAL, version, 0, member.method, 0, NEW_YEAR, member.crc, packed, size,
        len(name), len(extra),
    )  # fmt: skip
    return fields + name + extra


def _central(member: Member) -> bytes:
    """A member's entry in the directory."""
    name = member.name.encode("ascii")
    packed, size, offset, extra, version = member.packed, member.size, member.offset, b"", 20
    if max(packed, size, offset) >= LIMIT:
        extra = struct.pack("<2H3Q", 1, 24, size, packed, offset)
        packed, size, offset, version = FULL, FULL, FULL, 45
    fields = struct.pack(
        CENTRAL_FIELDS, CENTRAL, version, version, 0, member.method, 0, NEW_YEAR, member.crc,
        packed, size, len(name), len(extra), 0, 0, 0, 0, offset,
    )  # fmt: skip
    return fields + name + extra


def _directory(members: Sequence[Member], at: int, n_comment: int) -> bytes:
    """What stands between the last member, which ends at `at`, and the comment."""
    directory = b"".join(map(_central, members))
    n_members, size, start, wide = len(members), len(directory), at, b""
    if max(start, size) >= LIMIT:
        wide = struct.pack(
            END_WIDE_FIELDS, END_WIDE, 44, 45, 45, 0, 0, n_members, n_members, size, start
        ) + struct.pack(LOCATOR_FIELDS, LOCATOR, 0, start + size, 1)
        size, start = FULL, FULL
    end = struct.pack(END_FIELDS, END, 0, 0, n_members, n_members, size, start, n_comment)
    return directory + wide + end
