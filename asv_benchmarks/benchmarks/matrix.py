"""The matrix kernel on one core, beside SciPy's BLAS."""

from __future__ import annotations

import numpy as np
from scipy.linalg.blas import dgemm, sgemm
from threadpoolctl import threadpool_limits

from ctrain._core.dispatch import gemm

BLAS = {"float32": sgemm, "float64": dgemm}


class MatrixProduct:
    params = (
        [(16, 128, 128), (32, 512, 512), (256, 512, 512), (512, 1024, 1024)],
        ["plain", "A transposed"],
        ["float32", "float64"],
    )
    param_names = ("m, n, k", "layout", "dtype")

    def setup(self, shape, layout, dtype):
        threadpool_limits(1)
        m, n, k = shape
        rng = np.random.default_rng(0)
        self.a = rng.normal(size=(m, k)).astype(dtype)
        if layout == "A transposed":
            self.a = np.ascontiguousarray(self.a.T).T
        self.b = rng.normal(size=(k, n)).astype(dtype)
        self.c = np.empty((m, n), dtype)

    def time_ctrain(self, shape, layout, dtype):
        gemm(self.a, self.b, self.c)

    def time_blas(self, shape, layout, dtype):
        BLAS[dtype](1.0, self.b.T, self.a.T, c=self.c.T, overwrite_c=True)
