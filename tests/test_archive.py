"""The container of checkpoints: same bits back, whatever happens while it is written or to it."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import os
import tracemalloc
import zipfile

import archive_mutants
import numpy as np
import pytest

from ctrain import archive, members, storage
from ctrain.archive import CheckpointError

# ------------------------------------------------------------------------------ the same bits

NANS = np.array([0x7FF8000000000001, 0xFFF0000000000002, 0x7FF4DEADBEEF0003], "u8").view("f8")
CONTENTS = {
    "scalar": np.array(3.5),
    "none": np.empty((0, 3, 2), dtype="float32"),
    "nans": NANS,
    "signed.zeros": np.array([0.0, -0.0, np.inf, -np.inf, 5e-324]),
    "fortran": np.asfortranarray(np.arange(12, dtype="float32").reshape(3, 4)),
    "strided": np.arange(20, dtype="int16")[::3],
    "big-endian": np.arange(5, dtype=">i8"),
    "many+axes": np.arange(2**8, dtype="uint8").reshape((2,) * 8),
    "boolean": np.array([[True, False]]),
    **{dtype: np.array([0, 1, 100], dtype) for dtype in archive.DTYPES},
}
VALUES = {
    "integers": [0, -1, 2**127, -(2**128)],
    "floats": [0.1, -0.0, 1e-320, float("inf")],
    "text": ["", 'é\ud800 \U0001f600 "\\\n', "}{][,:"],
    "nothing": [None, True, False, {}, [], {"": {"deep": [[]]}}],
}


def shapes(arrays: dict):
    """The schema of exactly these arrays."""
    return lambda header: {name: (a.dtype, a.shape) for name, a in arrays.items()}


def anything(header: dict) -> dict:
    raise AssertionError("refused before the schema is asked")


def save(path, header=VALUES, arrays=CONTENTS, **settings):
    archive.write(path, header, arrays, **settings)
    return path


@pytest.mark.parametrize("compress", [False, True])
def test_what_was_written_is_read(tmp_path, compress):
    path = save(tmp_path / "model.npz", compress=compress)
    header, arrays = archive.read(path, shapes(CONTENTS))
    assert header == VALUES and json.dumps(header) == json.dumps(VALUES)
    assert list(arrays) == list(CONTENTS)
    for name, array in CONTENTS.items():
        assert arrays[name].dtype == array.dtype.newbyteorder("=")
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
        assert arrays[name].flags.writeable and arrays[name].flags.aligned


def test_the_most_that_a_header_holds_is_read(tmp_path, monkeypatch):
    deep = eval("[" * 63 + "]" * 63)
    header = {"deep": deep, "long": [10**40 - 1, 1 - 10**40]}
    assert archive.read(save(tmp_path / "a", header, {}), lambda header: {}) == (header, {})
    monkeypatch.setattr(archive, "FLOOR", 2 << 20)
    arrays = {"w": np.zeros(1000, "f4")}
    for compress, unit in itertools.product((False, True), ([{}], [0.5], "a", "\\\U0001f600")):

        def refused(n, compress=compress, unit=unit):
            try:
                archive._spell({"list": unit * n}, arrays, compress)
            except ValueError as error:
                assert str(error).startswith("the header is too large for so few arrays")
                return True
            return False

        n = bisect.bisect(range(1_000_000), 0, key=refused) - 1
        assert 1000 < n < 900_000
        header = {"list": unit * n}
        save(tmp_path / "a", header, arrays, compress=compress)
        assert archive.read(tmp_path / "a", shapes(arrays))[0] == header


def test_a_header_keeps_a_nan(tmp_path):
    header, _ = archive.read(save(tmp_path / "a", {"loss": float("nan")}, {}), lambda header: {})
    assert np.isnan(header["loss"])


@pytest.mark.parametrize("compress", [False, True])
def test_other_programs_can_open_it(tmp_path, compress):
    path = save(tmp_path / "model.npz", compress=compress)
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert json.loads(file.read("header.json"))["header"] == VALUES
    with np.load(path, allow_pickle=False) as file:
        for name, array in CONTENTS.items():
            assert file[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()
            assert file[name].shape == array.shape
    data = path.read_bytes()
    assert hashlib.sha256(data[:-64]).hexdigest().encode() == data[-64:]  # head -c -64 | sha256sum


def test_the_bytes_of_format_1(tmp_path):
    """A file of any release must load in all later ones; this is the first one's."""
    assert archive.FORMAT == 1
    data = save(tmp_path / "a", {"step": 7}, {"w": np.arange(3, dtype="float32")}).read_bytes()
    assert len(data) == 498
    assert data[-64:] == b"42c7f18d7a15000ab3af0fac90d770c594ea3702b84c73c251eb68877fa350d2"


def test_zip64_where_it_is_needed_and_nowhere_else(tmp_path, monkeypatch):
    narrow = save(tmp_path / "narrow").read_bytes()
    monkeypatch.setattr(members, "LIMIT", 300)
    for name, arrays in (("some", CONTENTS), ("directory", {"w": np.zeros(2)})):
        path = save(tmp_path / name, {"step": 1}, arrays)
        header, found = archive.read(path, shapes(arrays))
        assert header == {"step": 1} and found.keys() == arrays.keys()
        with zipfile.ZipFile(path) as file:
            assert file.testzip() is None
            assert len(file.namelist()) == len(arrays) + 1
    (tmp_path / "narrow").write_bytes(narrow)
    with pytest.raises(CheckpointError, match="spells member"):
        archive.read(tmp_path / "narrow", anything)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="spells member"):
        archive.read(tmp_path / "some", anything)


def test_zeros_that_shrink_like_a_bomb_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FLOOR", 2 << 20)
    arrays = {"slots": np.zeros(1 << 20, "float32"), "few": np.zeros(1000)}
    path = save(tmp_path / "model.npz", {}, arrays, compress=True)
    _, found = archive.read(path, shapes(arrays))
    assert not found["slots"].any()
    with zipfile.ZipFile(path) as file:
        methods = {info.filename: info.compress_type for info in file.infolist()}
    assert methods == {"header.json": 0, "slots.npy": 0, "few.npy": 8}


# ------------------------------------------------------------------------ what cannot be written


@pytest.mark.parametrize(
    "header, arrays, error, message",
    [
        ({"a": (1, 2)}, {}, TypeError, r"header\['a'\] is a tuple; a header holds"),
        ({"a": [0, {"b": np.int8(1)}]}, {}, TypeError, r"header\['a'\]\[1\]\['b'\] is a int8"),
        ({1: 2}, {}, TypeError, "header: key 1 is a int, not a str"),
        ({"a": 10**40}, {}, ValueError, r"header\['a'\]: more than 40 digits"),
        ([], {}, TypeError, "header is a list"),
        ({"a": eval("[" * 64 + "]" * 64)}, {}, ValueError, "nested more than 64 times"),
        ({}, {"../w": np.zeros(1)}, ValueError, "array name '../w'"),
        ({}, {".w": np.zeros(1)}, ValueError, "array name '.w'"),
        ({}, {"w": np.array(["text"])}, TypeError, "array 'w' is <U4"),
        ({}, {"w": np.array([{}])}, TypeError, "array 'w' is object"),
        ({}, {"w": np.zeros(1, complex)}, TypeError, "array 'w' is complex128"),
        ({}, {"w": np.zeros((1,) * 33)}, ValueError, "array 'w' has the shape"),
        ({"a": "x" * (1 << 24)}, {}, ValueError, "characters of JSON, more than 16777216"),
        ({"a": [{}] * 300_000}, {}, ValueError, "header is too large for so few arrays"),
        ({}, dict.fromkeys(map(str, range(10_001)), np.zeros(0)), ValueError, "at most 10000"),
    ],
)  # fmt: skip
def test_what_a_file_cannot_hold(tmp_path, header, arrays, error, message):
    with pytest.raises(error, match=message):
        save(tmp_path / "model.npz", header, arrays)
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------- what is not read


def test_foreign_files(tmp_path):
    np.savez(tmp_path / "numpy.npz", w=np.zeros(3))
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("no checkpoint at all\n" * 100)
    for name in ("numpy.npz", "empty", "text"):
        with pytest.raises(CheckpointError, match=f"{name}: not a checkpoint of ctrain"):
            archive.read(tmp_path / name, anything)


def test_what_is_not_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="missing"):
        archive.read(tmp_path / "missing", anything)
    with pytest.raises(IsADirectoryError):
        archive.read(tmp_path, anything)
    with pytest.raises(OSError, match="not a regular file"):
        archive.read(tmp_path / "pipe", anything)
    for verb in (save, storage.check_writable):
        with pytest.raises(IsADirectoryError):
            verb(tmp_path)
        with pytest.raises(OSError, match="not a regular file"):
            verb(tmp_path / "pipe")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_newer_format_says_so(tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(archive_mutants.seal(b"of another kind altogether", 3))
    with pytest.raises(CheckpointError, match="format 3, and this ctrain reads up to format 1; up"):
        archive.read(path, anything)


@pytest.mark.parametrize(
    "expected, message",
    [
        ({}, "it has unknown arrays: w"),
        ({"w": ("f4", (2, 3)), "b": ("f4", (3,))}, "it lacks arrays: b"),
        ({"w": ("f8", (2, 3))}, r"array 'w' is float32 \(2, 3\), not float64 \(2, 3\)"),
        ({"w": ("f4", (3, 2))}, r"array 'w' is float32 \(2, 3\), not float32 \(3, 2\)"),
        ({"w": ("f4", (None, 2))}, r"not float32 \(None, 2\)"),
        ({"w": ("f4", (6,))}, r"not float32 \(6,\)"),
    ],
)
def test_the_schema_decides(tmp_path, monkeypatch, expected, message):
    path = save(tmp_path / "model.npz", {}, {"w": np.zeros((2, 3), "f4")})
    monkeypatch.setattr(archive, "_array", anything)  # no array is built before
    with pytest.raises(CheckpointError, match=message):
        archive.read(path, lambda header: expected)


LEAST = {"step": np.array(7), "w": np.zeros(3, "f4")}


def test_every_flipped_bit_and_every_cut_is_found(tmp_path):
    path = save(tmp_path / "model.npz", {"step": 7}, LEAST)
    data = path.read_bytes()
    assert archive.read(path, shapes(LEAST))
    n_found = 0
    with open(path, "r+b", buffering=0) as file:
        for at in range(len(data)):
            changes = [data[at] ^ 1 << bit for bit in range(8)]
            for change in changes:
                os.pwrite(file.fileno(), bytes([change]), at)
                with pytest.raises(CheckpointError):
                    archive.read(path, anything)
                n_found += 1
            os.pwrite(file.fileno(), data[at : at + 1], at)
            if data[at : at + 2] != data[at : at + 2][::-1]:
                os.pwrite(file.fileno(), data[at : at + 2][::-1], at)
                with pytest.raises(CheckpointError):
                    archive.read(path, anything)
                os.pwrite(file.fileno(), data[at : at + 2], at)
        assert archive.read(path, shapes(LEAST))
        for length in reversed(range(len(data))):
            file.truncate(length)
            with pytest.raises(CheckpointError):
                archive.read(path, anything)
    for more in (b"\0", b"0", b"PK\5\6" + bytes(18), data):
        path.write_bytes(data + more)
        with pytest.raises(CheckpointError):
            archive.read(path, anything)
        path.write_bytes(more + data)
        with pytest.raises(CheckpointError):
            archive.read(path, anything)
    assert n_found == 8 * len(data)


CROWDS = ("[],", "{},", '{"":0},', '"ab",', "1.5,", "300,", '"\\ud83d\\ude00",', '{"a":{}},')


@pytest.mark.parametrize("unit", [*CROWDS, "keys", "escapes"])
def test_a_crowded_header_costs_no_more_than_estimated(tmp_path, unit):
    """The estimate decides what is read; it must be above what reading then takes."""
    n = 20_000
    items = f"[{unit * n}0]"
    if unit == "keys":
        items = "{" + ",".join(f'"{i:x}":0' for i in range(n)) + "}"
    elif unit == "escapes":
        items = '"' + "a" * (10 * n) + '\\ud83d\\ude00"'
    text = f'{{"header":{{"x":{items}}},"arrays":{{}}}}'
    path = tmp_path / "model.npz"
    path.write_bytes(archive_mutants.assemble([archive_mutants.Part("header.json", text.encode())]))
    tracemalloc.start()
    archive.read(path, lambda header: {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(text) < peak < archive._cost(path.stat().st_size, text, [len(text)])


W = {"header": {}, "arrays": {"w": ["float32", [4, 3]]}}
PLAIN = archive_mutants.npy(np.ones((4, 3), "f4"))
FLAGS = archive_mutants.npy(np.ones(3, bool))


def table(*spec) -> dict:
    return {"header": {}, "arrays": {"w": list(spec)}}


@pytest.mark.parametrize(
    "message, contents, content, lies",
    [
        ("", W, PLAIN, {}),
        ("array name '../w' is not one", {"header": {}, "arrays": {"../w": []}}, PLAIN,
         {"name": "../w.npy"}),
        ("arrays in its zip archive are not those", {"header": {}, "arrays": {}}, PLAIN, {}),
        ("does not hold 'header' and 'arrays'", {"header": {}, "tables": {}}, PLAIN, {}),
        ("does not hold 'header' and 'arrays'", [[], {}], PLAIN, {}),
        ("not both objects", {"header": [], "arrays": {}}, PLAIN, {}),
        ("not both objects", {"header": {}, "arrays": [["w", []]]}, PLAIN, {}),
        ("has no dtype that may be read", table("object", [4, 3]), PLAIN, {}),
        ("has no dtype that may be read", table(["float32"], [4, 3]), PLAIN, {}),
        ("has no dtype that may be read", table("float32", [4, 3], 0), PLAIN, {}),
        ("has no dtype that may be read", {"header": {}, "arrays": {"w": "float32"}}, PLAIN, {}),
        ("has no shape", table("float32", [-4, -3]), PLAIN, {}),
        ("has no shape", table("float32", [True, 12]), PLAIN, {}),
        ("has no shape", table("float32", [4.0, 3]), PLAIN, {}),
        ("has no shape", table("float32", "43"), PLAIN, {}),
        ("has no shape", table("float32", [1] * 33), PLAIN, {}),
        ("has no shape", table("float32", [0, 2**62, 2**62]), PLAIN, {}),
        ("has no shape", table("float32", [2**64 + 12]), PLAIN, {}),
        (r"176 bytes, and float32 \(3, 3\) takes 164", table("float32", [3, 3]), PLAIN, {}),
        (r"176 bytes, and float32 \(2147483648,\)", table("float32", [2**31]), PLAIN, {}),
        (r"does not begin as float32 \(3, 4\)", table("float32", [3, 4]), PLAIN, {}),
        (r"does not begin as int32 \(4, 3\)", table("int32", [4, 3]), PLAIN, {}),
        ("booleans that are neither 0 nor 1", table("bool", [3]), FLAGS[:-1] + b"\2", {}),
        ("another checksum", W, PLAIN, {"crc": 1}),
        ("directory that does not fit", W, PLAIN, {"packed": 175, "size": 175}),
        ("175 bytes, and", W, PLAIN, {"size": 175}),
        ("spells member 'w.npy' wrongly", W, PLAIN, {"packed": 2**31}),
        ("spells member 'w.npy' wrongly", W, PLAIN, {"packed": 2**32 + 176, "size": 2**32 + 176}),
        ("of a foreign kind", W, PLAIN, {"method": 12}),
        ("cannot be inflated", W, b"\xff" * 176, {"method": 8}),
        ("directory that does not fit", W, PLAIN, {"offset": 0}),
    ],
)  # fmt: skip
def test_each_lie_is_named(tmp_path, message, contents, content, lies):
    parts = [archive_mutants.Part("header.json", json.dumps(contents).encode())]
    parts.append(archive_mutants.Part("w.npy", content))
    parts[1].lies = lies
    refused(tmp_path, archive_mutants.assemble(parts), message, contents)


def refused(tmp_path, data: bytes, message: str, contents: dict = W) -> None:
    """The file is refused with that message, whatever its table says; without one it loads."""
    path = tmp_path / "model.npz"
    path.write_bytes(data)
    if message:
        with pytest.raises(CheckpointError, match=f"{path}: .*{message}"):
            archive.read(path, lambda header: contents["arrays"])
    else:
        assert (archive.read(path, lambda header: contents["arrays"])[1]["w"] == 1).all()


@pytest.mark.parametrize(
    "message, text",
    [
        ("a key stands twice", '{"header":{"a":1,"a":1},"arrays":{"w":["float32",[4,3]]}}'),
        ("a key stands twice", '{"header":{},"header":{},"arrays":{"w":["float32",[4,3]]}}'),
        ("more than 40 digits", '{"header":{"a":%s},"arrays":{}}' % ("1" * 41)),
        ("more than 40 digits", '{"header":{"a":%s},"arrays":{}}' % ("1" * 5000)),
        ("nested more than 64", '{"header":{"a":%s},"arrays":{}}' % ("[" * 64 + "]" * 64)),
        ("recursion", '{"header":{"a":%s},"arrays":{}}' % ("[" * 100_000 + "]" * 100_000)),
        ("ordinal not in range", '{"header":{"\xe9":0},"arrays":{}}'),
        ("Expecting", '{"header":{},"arrays":{}'),
        ("Extra data", '{"header":{},"arrays":{}} {}'),
        ("header is a int", "7"),
        ("would take", '{"header":[%s0],"arrays":{}}' % ("[]," * 500_000)),
        ("more than 16777216", '{"header":"%s","arrays":{}}' % ("a" * (1 << 24))),
    ],
)  # fmt: skip
def test_each_lie_in_the_header_is_named(tmp_path, message, text):
    part = archive_mutants.Part("header.json", text.encode("latin-1"))
    refused(tmp_path, archive_mutants.assemble([part]), message)


@pytest.mark.parametrize(
    "message, content, more",
    [
        ("", PLAIN, b""),
        ("does not end where it should", PLAIN, b"\0"),
        ("does not end where it should", PLAIN, None),
        ("longer than the 176 bytes it says", PLAIN + bytes(100_000_000), b""),
        ("another checksum or size", PLAIN[:-1], b""),
    ],
)
def test_each_lie_in_a_deflated_member_is_named(tmp_path, message, content, more):
    header = archive_mutants.Part("header.json", json.dumps(W).encode())
    part = archive_mutants.Part("w.npy", PLAIN, members.DEFLATED)
    part.packed = b"".join(members.deflate([content]))
    part.packed = part.packed[:-3] if more is None else part.packed + more
    data = archive_mutants.assemble([header, part])
    tracemalloc.start()
    refused(tmp_path, data, message)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("order", ["wb", "bw", "wwb", "wbb", "w", "b", ""])
def test_members_stand_once_and_in_order(tmp_path, order):
    contents = {"header": {}, "arrays": {name: ["float32", [4, 3]] for name in "wb"}}
    header = archive_mutants.Part("header.json", json.dumps(contents).encode())
    parts = [header, *(archive_mutants.Part(f"{name}.npy", PLAIN) for name in order)]
    message = "" if order == "wb" else "the arrays in its zip archive are not those of header.json"
    refused(tmp_path, archive_mutants.assemble(parts), message, contents)
    refused(tmp_path, archive_mutants.assemble(parts[1:]), "first member is not header.json")


def test_zip64_begins_where_the_narrow_fields_end():
    def length(size):
        return len(members._local(members.Member("w.npy", 0, 0, size, size, 0)))

    assert length(2**32 - 1) == length(2**32 - 2) + 20


def check(report: dict, count: int) -> None:
    """A campaign that broke no promise and did not stop at the first gate."""
    print(json.dumps(report, indent=1))
    assert report["wrong"] == [] and report["events"] == []
    funnel = report["funnel"]
    assert funnel["made"] == count
    assert funnel["zip"] >= 0.5 * count
    assert funnel["header"] >= 0.2 * count
    assert funnel["table"] >= 0.1 * count
    assert 0.05 * count <= funnel["loaded"] <= 0.3 * count
    assert report["kinds of refusal"] >= 50


CAMPAIGN = """
import json, pathlib, archive_mutants
print(json.dumps(archive_mutants.campaign(pathlib.Path({folder!r}), {seed}, {count})))
"""


def test_hostile_files(tmp_path, run_python):
    check(json.loads(run_python(CAMPAIGN.format(folder=str(tmp_path), seed=0, count=2000))), 2000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_hostile_files(tmp_path, run_python, seed):
    report = run_python(CAMPAIGN.format(folder=str(tmp_path), seed=seed, count=10_000))
    check(json.loads(report), 10_000)


def test_the_campaign_sees_what_must_not_happen(tmp_path, run_python):
    report = run_python(
        f"""
        import contextlib, json, pathlib, pickle, subprocess, archive_mutants
        folder, plain = pathlib.Path({str(tmp_path)!r}), archive_mutants.schema

        def schema(header):
            (folder / "other").write_text("")
            subprocess.run(["true"])
            compile("1", "name", "eval")
            pickle.loads(b"cos\\nsystem\\n.")
            with contextlib.suppress(ImportError):
                import no_such_module
            return plain(header)

        archive_mutants.schema = schema
        print(json.dumps(archive_mutants.campaign(folder, 0, 10)))
        """
    )
    seen = {event.split(" ")[0] for event in json.loads(report)["events"]}
    assert seen >= {"open", "subprocess.Popen", "compile", "pickle.find_class", "import"}
