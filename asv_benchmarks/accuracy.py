"""How accurate ctrain is beside its peers and beside published figures, field by field.

It writes ``docs/accuracy.md``, with ``--only`` the sections of those fields in it; with ``--sets``
or ``--splits`` it prints alone. The data are not part of the project: ``--data`` or the variable
``CTRAIN_DATA`` names their folder.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version
from pathlib import Path

from field import forecasting, recurrent, uci
from field.finished import Finished
from peer.page import processor, sections
from threadpoolctl import threadpool_limits

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "accuracy.md"
DATA = Path(os.environ.get("CTRAIN_DATA", HERE.parents[1] / "shared" / "data"))

FIELDS = {
    "uci": ("Regression: five UCI sets", uci),
    "forecasting": ("Forecasting: ETTh1, ETTm2, M4 Hourly", forecasting),
    "recurrent": ("Recurrent networks: ETTh1, M4 Hourly", recurrent),
}

INTRODUCTION = """\
# Accuracy

Written by `make bench-accuracy`: ctrain {ctrain}, scikit-learn {sklearn}, LightGBM {lightgbm},
NumPy {numpy}, Python {python}; one thread, CPU seconds on **{cpu}**. Errors follow from the
data and the seeds that the protocol states.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with uci/, ett/, m4/")
    parser.add_argument("--only", nargs="+", choices=FIELDS, help="fields; others stay as they are")
    parser.add_argument("--sets", nargs="+", help="sets of a field; writes nothing")
    parser.add_argument(
        "--splits", type=int, help="the first ones of each set, or seeds; writes nothing"
    )
    parser.add_argument(
        "--cache", type=Path, help="file that keeps finished results for the next run"
    )
    options = parser.parse_args()
    chosen = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    if len(chosen) < len(os.environ):  # the rivals' BLAS chooses its own kernels
        os.execve(sys.executable, sys.orig_argv, chosen)
    done = Finished(options.cache)
    written = options.sets is options.splits is None
    parts = sections(PAGE) if written and options.only else {}
    parts[""] = INTRODUCTION.format(
        ctrain=version("ctrain"), sklearn=version("scikit-learn"), lightgbm=version("lightgbm"),
        numpy=version("numpy"), cpu=processor(), python=".".join(map(str, sys.version_info[:3])),
    )  # fmt: skip
    with threadpool_limits(1):
        for name in options.only or FIELDS:
            title, field = FIELDS[name]
            try:
                body = field.run(options.data, options.splits, options.sets, done)
            except FileNotFoundError as error:
                parser.error(
                    f"{name}: not found: {error}. The data are not part of the project; name the "
                    "folder that holds them: make bench-accuracy DATA=/path/to/data"
                )
            parts[title] = f"## {title}\n\n{body}"
            print(parts[title], flush=True)
    if written:
        titles = ["", *(title for title, _ in FIELDS.values())]
        PAGE.write_text("\n".join(parts[title] for title in titles if title in parts))
        print(f"written to {PAGE.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
