"""scikit-learn's side, and SciPy's BLAS. Adam with alpha=0: there is no AdamW and no clipping."""

from __future__ import annotations

import ctypes
import warnings

import numpy as np
from scipy.linalg import cython_blas
from sklearn.neural_network import MLPRegressor

from . import native, problem


def step(threads: int, layers: list[int], batch: int, rows: int):
    """``partial_fit`` over all rows, which takes one epoch of shuffled batches."""
    X, y = problem.data(layers[0], rows)
    model = _model(layers, batch)
    y = y[:, 0]

    def call():
        model.partial_fit(X, y)

    call()
    pairs = list(zip(model.coefs_, model.intercepts_, strict=True))
    return call, -(-rows // batch), {"loss": problem.loss(pairs, X, y[:, None])}


def fit(threads: int, layers: list[int], batch: int, rows: int, epochs: int):
    """``MLPRegressor.fit`` as a user calls it, per step."""
    X, y = problem.data(layers[0], rows)
    model = _model(layers, batch).set_params(max_iter=epochs, n_iter_no_change=epochs)
    warnings.simplefilter("ignore")
    return lambda: model.fit(X, y[:, 0]), -(-rows // batch) * epochs, {}


def predict(threads: int, layers: list[int], rows: int, calls: int):
    """``MLPRegressor.predict`` on an array of the fitted width and dtype."""
    X, y = problem.data(layers[0], max(rows, 256))
    model = _model(layers, 200).partial_fit(X[:256], y[:256, 0])
    X = X[:rows]

    def call():
        for _ in range(calls):
            model.predict(X)

    return call, calls, {}


def gemm(threads: int, m: int, k: int, n: int, form: str):
    """SciPy's ``sgemm``, called in a loop in C. BLAS is column-major: c.T = b.T @ a.T."""
    rng = np.random.default_rng(0)
    a = problem.aligned(rng.normal(size=(m, k)).astype(np.float32))
    b = problem.aligned(rng.normal(size=(k, n)).astype(np.float32))
    c = problem.aligned(np.zeros((m, n), np.float32))
    left, right = b, a
    flags = [b"N", b"N"]
    if form == "A transposed":
        right, flags[1] = problem.aligned(a.T), b"T"
    if form == "B transposed":
        left, flags[0] = problem.aligned(b.T), b"T"
    capsule = cython_blas.__pyx_capi__["sgemm"]
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype = ctypes.c_void_p
    pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]
    sgemm = ctypes.c_void_p(pointer_of(capsule, name_of(capsule)))
    repeat = max(1, int(2e8 / (2.0 * m * k * n)))
    library = native.load("machine")

    def call(times=repeat):
        library.repeat_sgemm(
            sgemm, *flags, n, m, k, native.address(left), left.shape[1], native.address(right),
            right.shape[1], native.address(c), n, times,
        )  # fmt: skip

    call(1)
    return call, repeat, {"error": float(np.abs(c - a @ b).max())}


def _model(layers: list[int], batch: int) -> MLPRegressor:
    return MLPRegressor(
        hidden_layer_sizes=layers[1:-1], solver="adam", alpha=0.0, batch_size=batch, random_state=0,
        learning_rate_init=problem.LEARNING_RATE, beta_1=problem.BETAS[0], beta_2=problem.BETAS[1],
        epsilon=problem.EPS, tol=0.0,
    )  # fmt: skip
