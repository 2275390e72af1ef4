"""Series at random and the windows of them: as a source, and as arrays that NumPy cut."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ctrain._core.source import Windows


def random_case(seed, masked=None, covariates=None):
    """Series of random lengths, and some of the windows that they allow; None = by chance."""
    rng = np.random.default_rng(seed)

    def chance(wish):
        return rng.random() < 0.5 if wish is None else wish

    n_series, n_in, n_out, step = (int(rng.integers(1, top)) for top in (8, 40, 12, 5))
    lengths = rng.integers(n_out + 1, 2 * n_in + n_out + 30, n_series)
    if chance(None):
        lengths[:] = lengths[0]
    case = SimpleNamespace(n_in=n_in, n_out=n_out, step=step)
    case.y = [rng.normal(size=n) for n in lengths]
    case.available = [rng.random(n) < 0.8 for n in lengths] if chance(masked) else None
    widths = rng.integers(1, 6, 3)
    case.past, case.future = (
        [rng.normal(size=(n, w)) for n in lengths] if chance(covariates) else None
        for w in widths[:2]
    )
    case.static = rng.normal(size=(n_series, widths[2])) if chance(covariates) else None
    last = lengths - n_in - (0 if case.future is None else n_out)
    case.start = rng.integers(1 - n_in, last + 1)
    most = (last - case.start) // step + 1
    case.count = rng.integers(0, most + 1)
    lucky = rng.integers(n_series)
    case.count[lucky] = most[lucky]
    return case


def cut(case, s, x):
    """Windows of one series: (count, n_in + n_out, ...), zeros around it."""
    size = case.n_in + case.n_out
    padded = np.pad(x, [(size, size)] + [(0, 0)] * (x.ndim - 1))
    windows = np.moveaxis(sliding_window_view(padded, size, axis=0), -1, 1)
    return windows[case.start[s] + size :: case.step][: case.count[s]]


def materialised(case):
    """The rows as arrays, made by NumPy."""
    parts = {}
    for s, y in enumerate(case.y):
        mask = np.ones(len(y)) if case.available is None else case.available[s].astype(float)
        values, seen = cut(case, s, np.where(mask, y, 0)), cut(case, s, mask)
        row = {"past_y": values[:, : case.n_in], "past_mask": seen[:, : case.n_in]}
        if case.past is not None:
            row["past"] = cut(case, s, case.past[s])[:, : case.n_in]
        if case.future is not None:
            row["future"] = cut(case, s, case.future[s])
        if case.static is not None:
            row["static"] = np.repeat(case.static[s : s + 1], case.count[s], axis=0)
        row |= {"y": values[:, case.n_in :], "y_mask": seen[:, case.n_in :]}
        for name, x in row.items():
            parts.setdefault(name, []).append(x)
    return {name: np.concatenate(x) for name, x in parts.items()}


def windows_of(case, layout="C", stored="float64", folder=None, **more):
    """The source: a plain array where all series are of one length, else one after the other."""
    plain = len({len(y) for y in case.y}) == 1
    arrays = {}
    for name in ("y", "available", "past", "future", "static"):
        x = getattr(case, name)
        if x is not None:
            x = np.array(x) if name == "static" or plain else np.concatenate(x)
            x = x.astype(bool if name == "available" else stored)
            arrays[name] = LAYOUTS[layout](x, folder and folder / f"{name}.npy")
    if not plain:
        arrays["offsets"] = np.cumsum([0, *map(len, case.y)])
    return Windows(
        arrays.pop("y"), case.n_in, case.n_out, start=case.start, count=case.count,
        step_size=case.step, **arrays, **more,
    )  # fmt: skip


def memory_map(x, path):
    np.save(path, x)
    return np.load(path, mmap_mode="r")


def read_only(x, _):
    x.flags.writeable = False
    return x


def unaligned(x, _):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    shifted = raw[1:].view(x.dtype).reshape(x.shape)
    shifted[...] = x
    return shifted


def wider(x, _):
    """Part of an array that has more of everything."""
    return np.pad(x, 2)[tuple(slice(2, -2) for _ in x.shape)]


LAYOUTS = {
    "C": lambda x, _: x,
    "Fortran": lambda x, _: np.asfortranarray(x),
    "first axis apart": lambda x, _: np.repeat(x, 2, 0)[::2],
    "last axis apart": lambda x, _: np.repeat(x, 3, -1)[..., ::3],
    "backwards": lambda x, _: np.flip(np.flip(x).copy()),
    "of a wider array": wider,
    "memory map": memory_map,
    "read only": read_only,
    "unaligned": unaligned,
}
