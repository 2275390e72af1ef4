"""The shape of the source: direction of imports, what each language may do, length of files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
KERNELS = SOURCE / "ctrain" / "_core" / "kernels"

# Lowest first. A module imports from its own level and from those before it.
LEVELS = (
    {"_core", "initializers", "rules", "version"},  # a parameter is filled when it is recorded
    {
        "losses",
        "optimizers",
        "schedules",
        "distributions",
        "metrics",
        "window_scores",
        "window_choice",
        "data",
        "validation",
        "labels",
        "scalers",
    },
    {"layers"},
    {"models"},
    {
        "network",
        "masked",
        "windowed",
        "curves",
        "history",
        "stopping",
        "state",
        "held_out",
        "members",
        "storage",
        "archive",
        "callbacks",
        "checkpoint",
        "training",
        "intervals",
        "units",
    },
    {
        "estimator",
        "tabular",
        "conversion",
        "regressor",
        "classifier",
        "objective",
        "forecasting",
        "forecaster",
        "baselines",
        "retries",
    },
    {"gradcheck", "display", "config", "command_line", "__main__"},
    {"__init__"},
)
LONGEST = 520  # lines; beyond about 500 a file holds two nouns

PYTHON = sorted(SOURCE.rglob("*.py"))
CYTHON = sorted([*SOURCE.rglob("*.pyx"), *SOURCE.rglob("*.pxd")])
C = sorted([*KERNELS.glob("*.c"), *KERNELS.glob("*.h")])


def module_name(path: Path) -> str:
    """ctrain._core.tape for src/ctrain/_core/tape.py, ctrain.__init__ for the package."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def imported_names(source: str, module: str, cython: bool) -> set[str]:
    """Absolute names of what a module imports of ctrain, inside functions too."""
    found = set()
    if cython:
        pattern = r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+c?import[ \t]+(\(?[\w.,* \t]+)"
        statements = [
            (len(dots), base, [name.strip().split(" ")[0] for name in names.strip("(").split(",")])
            for dots, base, names in re.findall(pattern, source, re.M)
        ]
        for names in re.findall(r"^[ \t]*c?import[ \t]+([\w., \t]+)", source, re.M):
            statements += [(0, name.strip().split(" ")[0], []) for name in names.split(",")]
    else:
        statements = []
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names]
                statements.append((node.level, node.module or "", names))
            elif isinstance(node, ast.Import):
                statements += [(0, alias.name, []) for alias in node.names]
    for level, base, names in statements:
        stem = module.split(".")[:-level] if level else []
        name = ".".join([*stem, *filter(None, [base])])
        if name == "ctrain":
            found |= {f"ctrain.{sub}" for sub in names} or {"ctrain.__init__"}
        elif name.startswith("ctrain."):
            found.add(name)
    return found


def level_of(module: str) -> int:
    part = module.split(".")[1]
    for level, parts in enumerate(LEVELS):
        if part in parts:
            return level
    return len(LEVELS) - 1  # a name that only the package itself has, such as ctrain.Tape


def upward_imports(source: str, module: str, cython: bool = False) -> list[str]:
    """Imports that point to a higher level."""
    own = level_of(module)
    return sorted(name for name in imported_names(source, module, cython) if level_of(name) > own)


def without_comments(source: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", source, flags=re.S)


FORBIDDEN_IN_KERNELS = {
    "allocates": r"\b(malloc|calloc|realloc|free|alloca|aligned_alloc|posix_memalign)\s*\(",
    "threads": r"#\s*pragma\s+omp|\bomp_\w+|\bpthread_\w+",
    "knows Python": r"\bPython\.h\b|\bPy[A-Z_]\w+",
    "aborts": r"\b(abort|exit|_exit|assert|raise)\s*\(",
    "prints": r"\b(f?printf|puts|perror)\s*\(",
    "sets global floating-point state": r"\b(_MM_SET_\w+|fesetround|fesetenv)\s*\(",
}


def kernel_sins(source: str) -> list[str]:
    """What a kernel must never do, by the words of the design."""
    code = without_comments(source)
    return [sin for sin, pattern in FORBIDDEN_IN_KERNELS.items() if re.search(pattern, code)]


def identifier(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PYTHON + CYTHON, ids=identifier)
def test_imports_run_one_way(path):
    cython = path.suffix != ".py"
    assert upward_imports(path.read_text(), module_name(path), cython) == []


@pytest.mark.parametrize("path", PYTHON + CYTHON, ids=identifier)
def test_every_module_has_a_level(path):
    assert any(module_name(path).split(".")[1] in parts for parts in LEVELS), (
        f"{identifier(path)}: enter the module into LEVELS"
    )


@pytest.mark.parametrize(
    "source, module, cython, expected",
    [
        ("from ctrain.models import mlp", "ctrain.losses", False, ["ctrain.models"]),
        (
            "def f():\n    from ..training import fit",
            "ctrain.models.mlp",
            False,
            ["ctrain.training"],
        ),
        ("from .models.mlp import MLP", "ctrain.training", False, []),
        ("from . import losses, regressor", "ctrain.training", False, ["ctrain.regressor"]),
        ("from ctrain import Tape", "ctrain.losses", False, ["ctrain.Tape"]),
        ("import ctrain", "ctrain._core.tape", False, ["ctrain.__init__"]),
        ("import numpy\nfrom scipy import special", "ctrain._core.tape", False, []),
        ("from .dispatch cimport ct_op", "ctrain._core.step", True, []),
        ("    from ..losses import huber", "ctrain._core.step", True, ["ctrain.losses"]),
        ("from ctrain.losses cimport a, b", "ctrain._core.step", True, ["ctrain.losses"]),
        ("import os, ctrain.training", "ctrain._core.step", True, ["ctrain.training"]),
    ],
)
def test_the_import_check_finds_upward_imports(source, module, cython, expected):
    assert upward_imports(source, module, cython) == expected


@pytest.mark.parametrize("path", C, ids=identifier)
def test_kernels_only_compute(path):
    assert kernel_sins(path.read_text()) == []


@pytest.mark.parametrize(
    "source, expected",
    [
        ("float *p = malloc(n);", ["allocates"]),
        ("#pragma omp parallel for", ["threads"]),
        ('#include "Python.h"', ["knows Python"]),
        ("if (n < 0) abort();", ["aborts"]),
        ("/* malloc(n) would be wrong here */ x = 1; // abort()", []),
    ],
)
def test_the_kernel_check_finds_sins(source, expected):
    assert kernel_sins(source) == expected


@pytest.mark.parametrize("path", CYTHON, ids=identifier)
def test_memoryviews_only(path):
    """One abi3 wheel for each platform stays possible while nothing needs NumPy's C API."""
    assert not re.search(r"^\s*(cimport\s+numpy|from\s+numpy\b.*\bcimport)", path.read_text(), re.M)


@pytest.mark.parametrize("path", CYTHON, ids=identifier)
def test_directives_are_set_in_setup_alone(path):
    """Else the checked build would leave a module unchecked."""
    text = path.read_text()
    assert not re.search(r"^#\s*cython\s*:|@cython\.(boundscheck|wraparound|cdivision)", text, re.M)


@pytest.mark.parametrize("path", CYTHON, ids=identifier)
def test_no_index_counts_from_the_end(path):
    """With wraparound off that is undefined, whatever is indexed."""
    assert re.findall(r"\w\[(?:[^\[\]]*[:,]\s*)?-\w+", path.read_text()) == []


@pytest.mark.parametrize(
    "path",
    PYTHON + CYTHON + C + sorted((ROOT / "tests").rglob("*.py")),
    ids=identifier,
)
def test_no_file_is_two_files(path):
    n_lines = path.read_text().count("\n")
    assert n_lines <= LONGEST


@pytest.mark.parametrize("path", PYTHON + CYTHON + C, ids=identifier)
def test_names_say_what_a_file_holds(path):
    assert not re.search(r"utils?|helpers?|manager|common|misc|_v\d", path.stem)
