"""Builds the extensions; everything else about the package is in pyproject.toml.

Switches, read from the environment:

CTRAIN_OPENMP=0                     build without OpenMP: everything runs on one thread
CTRAIN_CHECKED=1                    bounds checks and assertions on, -O1 -g
CTRAIN_SANITIZE=address,undefined   compile and link with these sanitizers, checked as well
CTRAIN_SANITIZE=thread              likewise, with tests/races/team.c in the place of libgomp
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

import Cython
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError, LinkError
from setuptools.modified import newer_group

SANITIZE = os.environ.get("CTRAIN_SANITIZE", "")
CHECKED = bool(SANITIZE) or os.environ.get("CTRAIN_CHECKED", "0") != "0"
OPENMP = os.environ.get("CTRAIN_OPENMP", "1") != "0"

CORE = "src/ctrain/_core"
KERNELS = f"{CORE}/kernels"
KERNEL_SOURCES = sorted(set(glob(f"{KERNELS}/*.c")) - set(glob(f"{KERNELS}/*.inc.c")))
KERNEL_HEADERS = sorted(glob(f"{KERNELS}/*.h") + glob(f"{KERNELS}/*.inc.c"))
ABI = f"{KERNELS}/kernels.h"

# wraparound stays off in the checked build, so that a negative index is an error there.
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "initializedcheck": CHECKED,
    "wraparound": False,
    "cdivision": True,
}

# There is no row of flags per CPU target: target_*.c switch their instruction set on by pragma,
# so one set of flags builds all, and no code of a higher target leaks into a lower one.
# -fno-fast-math and -fno-wrapv undo what CFLAGS of the interpreter or the user may bring along;
# with contraction off every target rounds alike.
GNU_FLAGS = [
    *(["-O1", "-g", "-UNDEBUG"] if CHECKED else ["-O3", "-g0"]),
    "-fno-fast-math",
    "-fno-wrapv",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
]
GNU_KERNEL_FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra"]
# Cython leaves helpers unused, and drops const where C does not mind.
GNU_MODULE_FLAGS = [
    "-Wno-unused-function",
    "-Wno-discarded-qualifiers",
    "-Wno-unknown-warning-option",
]
SANITIZE_FLAGS = [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer"] if SANITIZE else []
# The thread sanitizer does not see what orders the threads of libgomp; it needs another team.
TEAM = ["tests/races/team.c"] if "thread" in SANITIZE else []

MSVC_FLAGS = ["/Od", "/Zi", "/UNDEBUG"] if CHECKED else ["/O2"]
MSVC_KERNEL_FLAGS = ["/std:c11", "/fp:precise"]

OPENMP_PROBE = """
#include <omp.h>
int main(void)
{
    int threads = 0;
#pragma omp parallel reduction(+ : threads)
    threads += 1;
    return threads < 1 || omp_get_max_threads() < 1;
}
"""
NO_OPENMP = """
***********************************************************************************
ctrain: this compiler cannot build OpenMP programs, so ctrain will use ONE thread.
  Debian, Ubuntu:  apt install gcc            (libgomp comes with it)
  macOS:           brew install libomp, and point CFLAGS and LDFLAGS to it
CTRAIN_OPENMP=0 builds without OpenMP on purpose and silences this message.
***********************************************************************************
"""


def extensions() -> list[Extension]:
    """Every .pyx of _core is one module; the kernels are linked into dispatch alone."""
    return [
        Extension(
            f"ctrain._core.{Path(pyx).stem}",
            [pyx, *(KERNEL_SOURCES if Path(pyx).stem == "dispatch" else [])],
            include_dirs=[KERNELS],
            depends=KERNEL_HEADERS,
        )
        for pyx in sorted(glob(f"{CORE}/*.pyx"))
    ]


class BuildModules(build_py):
    """Starts from an empty build/lib, so that a deleted module does not live on in a wheel."""

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


class BuildExtensions(build_ext):
    """Compiles what is out of date, file by file, and leaves the source tree alone.

    Generated C and objects live in build/<digest of the flags>, for editable installs too: one
    changed file costs one compilation, and a switch never meets the objects of another.
    """

    def build_extensions(self) -> None:
        self.msvc = self.compiler.compiler_type == "msvc"
        openmp = self.openmp_flags() if OPENMP else ([], [])
        flags = self.flags(openmp[0])
        if TEAM:
            openmp = openmp[0], ["-pthread"]
        self.build_temp = self.object_dir(flags, openmp[1])

        generated = cythonize(
            self.extensions,
            build_dir=self.build_temp,
            include_path=["src"],
            compiler_directives=DIRECTIVES,
            force=self.force,
            quiet=True,
        )
        with ThreadPoolExecutor(1 if self.msvc else os.cpu_count()) as pool:
            jobs = {
                source: pool.submit(self.compile, source, flags)
                for new in generated
                for source in new.sources
            }
            objects = {source: job.result() for source, job in jobs.items()}
        team = [self.compile(source, flags) for source in TEAM]
        for ext, new in zip(self.extensions, generated, strict=True):
            ext.sources = []
            ext.extra_objects = [objects[source] for source in new.sources] + team
            ext.extra_link_args = openmp[1] + SANITIZE_FLAGS
            # build/lib is shared by all flags: always link anew
            Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)
        super().build_extensions()

    def flags(self, openmp: list[str]) -> dict[bool, list[str]]:
        """Compiler flags of a kernel (True) and of a Cython module (False)."""
        if self.msvc:
            return {True: MSVC_FLAGS + MSVC_KERNEL_FLAGS, False: MSVC_FLAGS + openmp}
        common = GNU_FLAGS + SANITIZE_FLAGS
        return {True: common + GNU_KERNEL_FLAGS, False: common + GNU_MODULE_FLAGS + openmp}

    def object_dir(self, flags: dict[bool, list[str]], link: list[str]) -> str:
        command = getattr(self.compiler, "compiler_so", "")
        key = sys.implementation.cache_tag, Cython.__version__, command, flags, link, DIRECTIVES
        return os.path.join("build", hashlib.sha256(repr(key).encode()).hexdigest()[:12])

    def compile(self, source: str, flags: dict[bool, list[str]]) -> str:
        """The object of one source, compiled if anything that it includes is newer."""
        kernel = source in KERNEL_SOURCES
        [target] = self.compiler.object_filenames([source], output_dir=self.build_temp)
        if self.force or newer_group([source, *(KERNEL_HEADERS if kernel else [ABI])], target):
            self.compiler.compile(
                [source],
                output_dir=self.build_temp,
                include_dirs=[KERNELS],
                extra_postargs=flags[kernel],
            )
        return target

    def openmp_flags(self) -> tuple[list[str], list[str]]:
        """Flags for compiling and linking, proved by building a small program."""
        if self.msvc:
            candidate = ["/openmp:llvm"], []
        elif sys.platform == "darwin":
            candidate = ["-Xpreprocessor", "-fopenmp"], ["-lomp"]
        else:
            candidate = ["-fopenmp"], ["-fopenmp"]
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(OPENMP_PROBE)
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=candidate[0]
                )
                self.compiler.link_executable(
                    objects, "probe", output_dir=folder, extra_postargs=candidate[1]
                )
            except (CompileError, LinkError):
                print(NO_OPENMP, file=sys.stderr)
                return [], []
        return candidate


setup(
    ext_modules=extensions(),
    cmdclass={"build_py": BuildModules, "build_ext": BuildExtensions},
)
