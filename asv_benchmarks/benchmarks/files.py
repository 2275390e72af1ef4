"""What a file costs: a safe save beside a plain write of the same bytes, and a load."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time

import numpy as np

from ctrain import archive


class Save:
    """Synced, renamed, synced again, with a digest; the plain write is synced as well."""

    params = (1, 4, 16, 64)
    param_names = ("megabytes",)
    timeout = 120

    def setup(self, megabytes):
        self.folder = tempfile.mkdtemp()
        self.path = f"{self.folder}/model.npz"
        rng = np.random.default_rng(0)
        self.arrays = {"w": rng.normal(size=megabytes << 18).astype(np.float32)}
        self.time_safe(megabytes)
        with open(self.path, "rb") as file:
            self.data = file.read()

    def teardown(self, megabytes):
        shutil.rmtree(self.folder)

    def time_safe(self, megabytes):
        archive.write(self.path, {"step": 1}, self.arrays)

    def time_plain(self, megabytes):
        with open(f"{self.folder}/plain", "wb", buffering=0) as file:
            file.write(self.data)
            os.fsync(file.fileno())

    def time_load(self, megabytes):
        archive.read(self.path, lambda header: {"w": ("<f4", (megabytes << 18,))})

    def track_ratio(self, megabytes):
        """Of medians of alternating saves."""
        times = {self.time_plain: [], self.time_safe: []}
        for _ in range(31):
            for save, seconds in times.items():
                started = time.perf_counter()
                save(megabytes)
                seconds.append(time.perf_counter() - started)
        plain, safe = map(statistics.median, times.values())
        return safe / plain

    track_ratio.unit = "plain writes"


if __name__ == "__main__":  # python asv_benchmarks/benchmarks/files.py
    for megabytes in Save.params:
        save = Save()
        save.setup(megabytes)
        print(f"{megabytes:3d} MB: a safe save costs {save.track_ratio(megabytes):.2f} plain ones")
        save.teardown(megabytes)
