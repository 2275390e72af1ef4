"""Who takes part, each in a process of its own, and how they take turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent.parent
NAMES = {
    "with_ctrain": "ctrain", "with_torch": "PyTorch", "with_jax": "JAX",
    "with_sklearn": "scikit-learn", "with_neuralforecast": "neuralforecast", "native": "C",
}  # fmt: skip
#: what a shell may have set to force slower or other kernels; every library decides for itself
TUNING = ("OPENBLAS_", "OMP_", "GOMP_", "KMP_", "MKL_", "XLA_", "JAX_", "ATEN_", "DNNL_", "ONEDNN_",
          "NPY_", "CTRAIN_")  # fmt: skip


class Contestant:
    """One library in its own process."""

    def __init__(self, module: str, threads: int) -> None:
        count = str(threads)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(TUNING)}
        environment = inherited | {
            "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count,
            "NPROC": count, "JAX_PLATFORMS": "cpu",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "peer.worker", module, count],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE, env=environment,
        )  # fmt: skip
        self.module, self.threads = module, threads

    def ask(self, **request) -> dict:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.module} ended while it did {request}; see above")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


@dataclass
class Bench:
    """The processes of a run, and how long it measures."""

    rounds: int
    seconds: float
    contestants: dict[tuple[str, int], Contestant] = field(default_factory=dict)

    def compare(self, *entries) -> tuple[list[float], list[dict]]:
        """Seconds per unit and info of each entry (module, threads, kind, arguments), interleaved.

        An entry gets a process of its own, unless an earlier call has left one behind.
        """
        taken, infos = [], []
        for module, threads, kind, args in entries:
            key = next(
                k for i in range(len(entries))
                if (k := (module, threads, i)) not in taken
            )  # fmt: skip
            taken.append(key)
            if key not in self.contestants:
                self.contestants[key] = Contestant(module, threads)
            infos.append(self.contestants[key].ask(do="prepare", kind=kind, args=args))
        times = [[] for _ in entries]
        for turn in range(self.rounds):
            for i in range(len(entries)):
                i = (i + turn) % len(entries)  # nobody always comes first
                answer = self.contestants[taken[i]].ask(do="round", seconds=self.seconds)
                times[i].append(answer["seconds"])
        return [median(t) for t in times], infos

    def once(self, module: str, threads: int, kind: str, args: dict) -> dict:
        """The info of a piece of work in a fresh process."""
        contestant = Contestant(module, threads)
        try:
            return contestant.ask(do="prepare", kind=kind, args=args)
        finally:
            contestant.close()

    def close(self) -> None:
        for contestant in self.contestants.values():
            contestant.close()
