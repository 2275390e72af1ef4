"""The list of injected defects is about this tree, and the docs show it."""

from __future__ import annotations

import re
from pathlib import Path

import defects
import pytest
from defects import ROOT
from injected import DEFECTS, RACES

TESTS = Path(__file__).parent


@pytest.mark.parametrize("defect", [*DEFECTS, *RACES], ids=lambda d: f"{d.file}: {d.what}")
def test_it_can_be_injected(defect, tmp_path):
    place = Path("src", "ctrain", defect.file)
    (tmp_path / place).parent.mkdir(parents=True)
    sound = (ROOT / place).read_text(encoding="utf-8")
    (tmp_path / place).write_text(sound, encoding="utf-8")
    defects.inject(tmp_path, defect)
    assert (tmp_path / place).read_text(encoding="utf-8") != sound
    file, _, name = defect.test.partition("::")
    assert re.search(rf"^def {name}\(", (TESTS / file).read_text(encoding="utf-8"), re.M)


def test_a_stale_defect_is_refused(tmp_path):
    place = tmp_path / "src" / "ctrain" / "stopping.py"
    place.parent.mkdir(parents=True)
    place.write_text("", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"stopping\.py does not hold once"):
        defects.inject(tmp_path, next(d for d in DEFECTS if d.file == "stopping.py"))


def test_the_docs_list_them_all():
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    assert defects.table(DEFECTS) in text and defects.table(RACES) in text


@pytest.mark.parametrize(
    "status, output, test",
    [
        (0, "3 passed", None),
        (1, "F\nFAILED tests/test_a.py::test_b[x y] - assert 0\n", "test_a.py::test_b[x y]"),
        (2, "ERROR tests/test_a.py\n1 error", None),  # a test that cannot run proves nothing
        (4, "ERROR: not found: tests/test_a.py::test_c", None),
        (-11, "", "killed by signal 11"),
    ],
)
def test_only_a_failing_test_has_noticed(status, output, test):
    assert defects.noticed(status, output) == test


def test_only_a_report_is_a_race():
    report = f"{defects.REPORT} (pid=1)\n  Write of size 4\n    #0 {{}}\n\n  Thread T1 created\n"
    ours = "__pyx_f_6ctrain_5_core_6phases_run_tile build/4b/src/ctrain/_core/phases.c:7 (p.so)"
    other = report.format("free ../elf/dl-tls.c:682 (ld.so)")
    assert defects.raced(66, other + report.format(ours)) == "data race below run_tile"
    assert defects.raced(66, other) is None
    assert defects.raced(1, "FAILED tests/test_bits.py::test_a - assert 0") is None
