"""What users install: version, import time, sdist, wheel, editable install."""

from __future__ import annotations

import email
import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import ctrain

ROOT = Path(__file__).parents[1]


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Output of a program that must succeed, run outside the source tree."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_version_is_that_of_the_metadata():
    assert ctrain.__version__ == importlib.metadata.version("ctrain")


def test_changelog_opens_with_this_version():
    headings = [
        line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")
    ]
    assert headings[0].startswith(f"## {ctrain.__version__}")


def test_public_names_exist_and_are_sorted():
    assert list(ctrain.__all__) == sorted(ctrain.__all__)
    assert [name for name in ctrain.__all__ if not hasattr(ctrain, name)] == []


def test_importing_ctrain_is_cheap(tmp_path):
    """Less than 0.1 s over sklearn.base: of the processor, which may do other things meanwhile.

    Of compiled modules, as pip leaves them, also where PYTHONDONTWRITEBYTECODE is set.
    """
    code = (
        "import time, sklearn.base; start = time.process_time(); import ctrain; "
        "print(time.process_time() - start)"
    )
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}
    times = [float(run(sys.executable, "-c", code, cwd=tmp_path, **compiled)) for _ in range(3)]
    assert min(times) < 0.1


def test_importing_ctrain_loads_no_extra_and_prints_nothing(tmp_path):
    # scikit-learn's own callbacks load rich where it is installed
    extras = {"matplotlib", "rich", "polars", "pandas", "optuna", "torch", "IPython", "fsspec"}
    code = (
        "import sys, sklearn.base, sklearn.callback; before = set(sys.modules); import ctrain; "
        f"assert not (set(sys.modules) - before) & {extras!r}, set(sys.modules) & {extras!r}"
    )
    assert run(sys.executable, "-c", code, cwd=tmp_path) == ""


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The sdist, built from a copy of the source tree that holds no build product."""
    folder = tmp_path_factory.mktemp("sdist")
    shutil.copytree(
        ROOT,
        folder / "tree",
        ignore=shutil.ignore_patterns(
            ".git", ".venv*", ".asv", "build", "dist", "_build", "*.so", "*.egg-info", "__pycache__"
        ),
    )
    run(sys.executable, "-m", "build", "--sdist", "--outdir", folder, folder / "tree", cwd=folder)
    [path] = folder.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def unpacked(sdist):
    run(sys.executable, "-m", "tarfile", "-e", sdist, sdist.parent, cwd=sdist.parent)
    return sdist.parent / sdist.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(unpacked):
    """The wheel, built from the unpacked sdist by the build requirements that it names."""
    folder = unpacked.parent
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, unpacked, cwd=folder)
    [path] = folder.glob("*.whl")
    return path


def installed(folder: Path, *what: object) -> Path:
    """Python of a new environment with ctrain from `what`, all else from this environment."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", f"--python={python}", "install", "--no-deps")
    run(*pip, *what, cwd=folder)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    Path(site.strip(), "zz_parent.pth").write_text(sysconfig.get_path("purelib"))
    return python


FIT = """
import numpy as np
import ctrain
X = np.random.default_rng(0).normal(size=(200, 3))
y = X @ [1.0, -2.0, 0.5]
model = ctrain.Regressor(hidden_layer_sizes=(), learning_rate_init=0.1, max_iter=50, random_state=0)
assert model.fit(X, y).score(X, y) > 0.99
print(ctrain.__file__)
"""


@pytest.mark.slow
def test_sdist_holds_every_source_and_no_product(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        str(path.relative_to(ROOT))
        for folder in ("src", "tests", "examples")
        for suffix in (".py", ".pyx", ".pxd", ".c", ".h", ".typed")
        for path in (ROOT / folder).rglob(f"*{suffix}")
    }
    wanted |= {"README.md", "CHANGELOG.md", "LICENSE", "Makefile", "setup.py", "docs/conf.py"}
    assert wanted - names == set()
    products = (".so", ".o", ".pyc", ".pyd")
    generated = {f"{name[:-4]}.c" for name in names if name.endswith(".pyx")}
    assert [name for name in names if name.endswith(products) or name in generated] == []


@pytest.mark.slow
def test_wheel_is_small_and_holds_no_source(wheel, unpacked):
    assert wheel.stat().st_size < 5e6
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = (name for name in names if name.endswith(".dist-info/METADATA"))
        fields = email.message_from_bytes(archive.read(metadata))
    assert [name for name in names if name.endswith((".c", ".h", ".pyx", ".pxd"))] == []

    source = unpacked / "src"
    python = {str(path.relative_to(source)) for path in (source / "ctrain").rglob("*.py")}
    modules = {path.stem for path in (source / "ctrain" / "_core").glob("*.pyx")}
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    extensions = {f"ctrain/_core/{module}{suffix}" for module in modules}
    content = {name for name in names if ".dist-info/" not in name}
    assert content == python | extensions | {"ctrain/py.typed", "ctrain/data/air_passengers.csv"}

    assert fields["License-Expression"] == "BSD-3-Clause"
    assert fields["Version"] == ctrain.__version__
    required = [name for name in fields.get_all("Requires-Dist") if "extra ==" not in name]
    assert {name.split(">")[0] for name in required} == {"numpy", "scipy", "scikit-learn"}
    assert not any("torch" in name for name in fields.get_all("Requires-Dist"))


@pytest.mark.slow
def test_wheel_works_outside_the_tree(wheel, tmp_path):
    python = installed(tmp_path / "env", wheel)
    assert Path(run(python, "-c", FIT, cwd=tmp_path).strip()).is_relative_to(tmp_path)


@pytest.mark.slow
def test_editable_install_works_outside_the_tree(wheel, unpacked, tmp_path):
    """After the wheel, whose objects it takes over."""
    python = installed(tmp_path / "env", "--editable", unpacked)
    assert Path(run(python, "-c", FIT, cwd=tmp_path).strip()).is_relative_to(unpacked)
    generated = {path.with_suffix(".c") for path in unpacked.rglob("*.pyx")}
    assert [path for path in generated if path.exists()] == []
