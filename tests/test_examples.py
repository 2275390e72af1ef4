"""Examples and the code in the documentation run and answer what they promise."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import ctrain

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
DOCUMENTS = [
    *"index user_guide classification forecasting coming_from".split(),
    *"losses schedules checkpoints display sequences".split(),
]
PAGES = ["README.md", *(f"docs/{name}.md" for name in DOCUMENTS)]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(autouse=True)
def one_thread():
    """The networks are small, and on a busy machine threads mostly wait for each other."""
    with threadpool_limits(1):
        yield


def load(name: str):
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_demo(tmp_path, capsys):
    picture = tmp_path / "demo.png"
    answer = load("demo").main(epochs=12, repeats=1, picture=picture)
    out, progress = capsys.readouterr()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert str(picture) in out
    lines = progress.splitlines()  # stderr is no terminal here: plain lines
    assert len(lines) == 6 and all(line.startswith("epoch ") for line in lines)
    fitted = answer["fitted"]
    assert len(fitted.loss_curve_) == len(fitted.validation_loss_curve_) == 12
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0] / 2
    forecast = answer["forecast"]
    assert forecast["picture"] == tmp_path / "demo_forecast.png" and str(forecast["picture"]) in out
    assert forecast["picture"].read_bytes().startswith(b"\x89PNG")
    errors = forecast["errors"]
    assert errors["ctrain.Forecaster"] < errors["the year before"] / 2
    assert forecast["held"] >= 16 and f"{forecast['held']} of 24 months" in out
    assert set(answer["results"]) == {"digits", "diabetes"}
    for name, result in answer["results"].items():
        error, seconds, model = result["ctrain.Regressor"]
        rival, rival_seconds, _ = result["MLPRegressor"]
        assert model.n_iter_ == 12
        assert f"{error:.3f}" in out and f"{rival:.3f}" in out and name in out
        # the same network and optimizer from another start: errors of the same size
        assert error < 1.15 * rival
        assert 0 < seconds and 0 < rival_seconds


def test_classify():
    answers = load("classify").main(epochs=15)
    assert answers["balanced"]["share found"] > answers["all rows alike"]["share found"]
    assert all(0.7 < answer["ROC AUC in training"] < 1.0 for answer in answers.values())
    assert all(answer["log loss"] < 0.7 for answer in answers.values())  # coin: 0.5, log 2


def test_own_model():
    errors = load("own_model").main(epochs=20)
    assert errors["own model"] < 0.95 * errors["linear"]  # the target is not linear


def test_own_loss():
    shares = load("own_loss").main(epochs=60)
    assert shares["gradient error"] < 1e-8
    assert shares["own loss"] < shares["squared_error"]


def test_intervals():
    answer = load("intervals").main()
    n = 442
    for share, level in ((answer["held"], 0.8), (answer["above"], 0.5)):
        # three standard errors of a share, and 0.05 for fitting and testing on a few hundred rows
        assert abs(share - level) < 3 * np.sqrt(level * (1 - level) / n) + 0.05


def test_forecast(tmp_path):
    answer = load("forecast").main(picture=tmp_path / "forecast.png")
    assert (tmp_path / "forecast.png").read_bytes().startswith(b"\x89PNG")
    scores = answer["scores"]
    assert scores["Forecaster"].n_windows == scores["SeasonalNaive"].n_windows == 25
    assert all(
        scores["Forecaster"][name] < value for name, value in scores["SeasonalNaive"].items()
    )
    assert answer["held"] >= 0.6


def test_grid_search():
    search = load("grid_search").main(epochs=20, folds=3)
    assert len(search.cv_results_["params"]) == 12
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > 0.3


def test_large_data():
    answer = load("large_data").main(n_rows=100_000, epochs=2)
    assert answer["score"] > 0.5
    # a shuffled order (int64 per row, drawn and applied) and small arrays, never the 64 features
    assert answer["peak"] < answer["file"] / 5


def test_tape(capsys):
    assert load("tape").main(steps=300) < 1e-3
    assert "33 weights" in capsys.readouterr().out


def test_own_cell(capsys):
    answer = load("own_cell").main(epochs=6, steps=8)
    assert answer["own cell"] < answer["mean"] / 4 > answer["layer"]
    assert "x the time" in capsys.readouterr().out


def test_own_cell_is_the_layer(one_thread):
    """Both from the same weights: the same numbers, up to rounding."""
    example = load("own_cell")
    tape = ctrain.Tape("float64")
    x = tape.input((7, 2), name="x")
    outputs = example.from_layer(tape, x), example.from_cell(tape, x)
    assert len(tape.parameters) == 5
    tape.forward(x=np.random.default_rng(0).normal(size=(4, 7, 2)))
    np.testing.assert_allclose(*map(tape.value, outputs), rtol=1e-12)
    body = inspect.getsource(example.own_cell).splitlines()
    assert len([line for line in body if line.strip() and '"""' not in line]) <= 15


def test_every_example_is_tested():
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert set(EXAMPLES) <= tested


def test_example_is_a_script(tmp_path):
    """One of them as users run them; the others differ in `main` alone."""
    script = ROOT / "examples" / "tape.py"
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("[0. 1. 1. 0.]")
    assert list(tmp_path.iterdir()) == []


def blocks(text: str) -> list[tuple[int, str]]:
    """Line number and code of each Python block of a Markdown page."""
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S)
    return [(text[: match.start(1)].count("\n") + 1, match[1]) for match in found]


def run_page(text: str, name: str, names: dict) -> None:
    """Run the blocks of a page in one namespace; those with prompts must answer as printed."""
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    parser = doctest.DocTestParser()
    for line, code in blocks(text):
        if ">>> " in code:
            test = parser.get_doctest(code, names, f"{name}:{line}", name, line)
            test.globs = names
            report: list[str] = []
            result = runner.run(test, out=report.append, clear_globs=False)
            assert result.failed == 0, "".join(report)
        else:
            exec(compile("\n" * (line - 1) + code, name, "exec", dont_inherit=True), names)


@pytest.mark.parametrize("page", PAGES)
def test_code_of_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text()
    assert blocks(text), f"{page} holds no Python code"
    names = {"__name__": page}
    if page == "docs/index.md":  # shows a fit of data that the reader has
        rng = np.random.default_rng(0)
        names |= {"X": rng.normal(size=(200, 4)), "X_new": rng.normal(size=(5, 4))}
        names["y"] = names["X"][:, 0]
    run_page(text, page, names)
    left = ["forecast.png"] if page == "README.md" else []
    assert [path.name for path in tmp_path.iterdir()] == left


def test_readme_prints_what_it_says(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page((ROOT / "README.md").read_text(), "README.md", {"__name__": "README.md"})
    score, shapes = capsys.readouterr().out.splitlines()
    assert 0.2 < float(score) < 0.7  # R2 of diabetes: about 0.4 for any model
    assert shapes == "(100,) (10, 1)"


def test_a_wrong_answer_on_a_page_fails():
    with pytest.raises(AssertionError, match=r"Expected:\n *3"):
        run_page("```python\n>>> 1 + 1\n3\n\n```\n", "page", {})


@pytest.mark.parametrize("page", PAGES)
def test_links_of_page_lead_somewhere(page):
    path = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
    missing = [link for link in links if not (path.parent / link).exists()]
    assert missing == []


def test_api_page_lists_every_public_object():
    listed = set(re.findall(r"^   ([\w.]+)$", (ROOT / "docs" / "api.rst").read_text(), re.M))
    public = set()
    for name in ctrain.__all__:
        thing = getattr(ctrain, name)
        if not isinstance(thing, ModuleType):
            public.add(name)
            continue
        own = [n for n, x in vars(thing).items() if getattr(x, "__module__", "") == thing.__name__]
        names = getattr(thing, "__all__", [n for n in own if not n.startswith("_")])
        public |= {f"{name}.{n}" for n in names if callable(getattr(thing, n))}
    assert public - listed == set()
