"""Files of all releases so far load, predict what they did, and train on."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from golden.make_golden import FITS, LABELS, X, Y, bottleneck, targets, unfinished

import ctrain
from ctrain import CheckpointError, archive, checkpoint
from ctrain._core import dispatch

RELEASES = sorted(path for path in (Path(__file__).parent / "golden").iterdir()
                  if re.match(r"\d", path.name))  # fmt: skip
FILES = sorted(path for release in RELEASES for path in release.glob("*.npz")
               if path.stem not in ("expected", "forecaster"))  # fmt: skip
SAME_BITS = dispatch.target() != "baseline"  # all targets that have fused multiply-add


def expected(path: Path) -> dict[str, np.ndarray]:
    with np.load(path.parent / "expected.npz") as arrays:
        return dict(arrays)


def check(answer, stored, precision="float64"):
    assert answer.dtype == stored.dtype
    if stored.dtype.kind == "U" or SAME_BITS:
        assert answer.tolist() == stored.tolist()
    elif stored.dtype.kind == "i":
        assert np.array_equal(answer, stored)
    else:  # sums whose terms were rounded once more; their error goes with the largest ones
        error = np.abs(answer - stored).max() / np.abs(stored).max()
        assert error < 100 * np.finfo(precision).eps


def identifier(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def test_this_release_and_each_kind_have_a_file():
    assert ctrain.__version__ in [path.name for path in RELEASES]
    stems = {path.stem for path in FILES if path.parent.name == ctrain.__version__}
    assert stems == {*FITS, "unfinished"}
    assert max(path.stat().st_size for path in FILES) < 20_000


@pytest.mark.parametrize("path", FILES, ids=identifier)
def test_a_golden_file_predicts_what_it_did(path):
    stored = expected(path)
    assert stored["X"].tobytes() == X.tobytes()
    model = ctrain.load(path)
    check(model.predict(X), stored[path.stem], model._network.dtype)
    if path.stem == "classifier":
        check(model.predict_proba(X), stored["classifier-probabilities"])


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_a_golden_forecaster_forecasts_what_it_did(release):
    stored = expected(release / "forecaster.npz")
    frame = ctrain.load(release / "forecaster.npz").predict(level=50)
    assert list(frame) == ["unique_id", "ds", "MLP", "MLP-lo-50", "MLP-hi-50"]
    for name, values in frame.items():
        check(values, stored[f"forecaster-{name}"], "float32")


@pytest.mark.parametrize("path", FILES, ids=identifier)
def test_a_golden_file_trains_on(path):
    model = ctrain.load(path)
    model.set_params(warm_start=True, max_iter=3)
    if path.stem == "own-model":
        model.set_params(model=bottleneck)
    before = model.t_
    model.fit(X, targets(model))
    assert model.t_ > before and np.isfinite(model.loss_curve_).all()


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_a_golden_fit_is_resumed(release):
    stored = expected(release / "unfinished.npz")
    half = ctrain.load(release / "unfinished.npz")
    assert (half.t_, half.n_iter_, half._state.epoch_step) == (8, 2, 2)
    whole = unfinished().fit(X, Y, resume=release / "unfinished.npz")
    if SAME_BITS:  # of a training they differ without bound
        check(whole.predict(X), stored["resumed"])
        check(np.array(whole.validation_loss_curve_), stored["resumed-losses"])
    assert whole.n_iter_ == len(stored["resumed-losses"])


def test_what_is_in_a_file_is_said_by_every_zip_program():
    path = next(path for path in FILES if path.stem == "classifier")
    with zipfile.ZipFile(path) as file:
        assert file.namelist()[0] == "header.json"
        assert all(label in file.read("header.json").decode() for label in set(LABELS))


def test_a_newer_format_is_refused(tmp_path):
    data = FILES[0].read_bytes()
    seal = archive.SEAL.format(archive.FORMAT).encode()
    at = data.rindex(seal)
    newer = data[:at] + archive.SEAL.format(archive.FORMAT + 1).encode()
    path = tmp_path / "newer.npz"
    path.write_bytes(newer + archive.hashlib.sha256(newer).hexdigest().encode())
    told = rf"newer.npz: written in format {archive.FORMAT + 1}, and this ctrain reads up to format"
    for read in (ctrain.load, lambda path: unfinished().fit(X, Y, resume=path)):
        with pytest.raises(CheckpointError, match=told):
            read(path)


def test_what_a_newer_release_may_add_is_refused_by_name(tmp_path):
    """A file of this format that names what this release does not have."""
    header, arrays = checkpoint.read(next(path for path in FILES if path.stem == "adamw"))
    for change, told in (
        (lambda h: h.update(estimator="Clusterer"), "Clusterer"),
        (lambda h: h["parameters"].update(momentum_2=1), "momentum_2"),
        (lambda h: h["network"]["tensors"][-1].update(op="conv9d"), "conv9d"),
        (lambda h: h["parameters"]["optimizer"].update(object="optimizers.Newton"), "Newton"),
    ):
        changed = archive.json.loads(archive.json.dumps(header))
        change(changed)
        archive.write(tmp_path / "a", changed, arrays)
        with pytest.raises(CheckpointError, match=told):
            ctrain.load(tmp_path / "a")
