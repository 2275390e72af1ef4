"""ctrain and neuralforecast on the same series: steps, a whole fit, prediction, memory."""

from __future__ import annotations

from .contest import NAMES, Bench
from .page import RATIO_HEAD, table, us, verdict

FORECASTS = "forecast_with_ctrain"


def forecast(bench: Bench) -> str:
    """Time of a step: that of a fit with more steps less that of one with fewer."""
    small = {"n_series": 4, "rows": 10_000, "horizon": 24, "input_size": 168, "batch": 256}
    large = {"n_series": 7, "rows": 57_600, "horizon": 96, "input_size": 480, "batch": 256}
    # fewer and more steps of each library, so that both take long enough to be told apart
    works = [
        ("DLinear", small, (50, 1050), (2, 12), 200),
        ("MLP", small, (5, 45), (2, 12), 4.3),
        ("NHITS", small, (5, 35), (2, 12), 3.5),
        ("NBEATS", small, (5, 35), (2, 12), 6),
        ("NHITS", large, (3, 13), (1, 5), 6),
        ("GRU", small, (1, 4), (1, 3), 2.7),
        ("LSTM", small, (1, 4), (1, 3), 4.5),
        ("TCN", small, (2, 10), (1, 5), 2),
        ("DeepAR", small, (2, 7), (1, 4), 6.5),
        ("PatchTST", small, (3, 23), (1, 4), 10),
    ]
    rows, pace = [(*RATIO_HEAD, "windows/s, both")], {}
    for model, shape, ours, theirs, asked in works:
        work = {"model": model, **shape}
        entries = [
            (module, 2, "forecast_fit", work | {"steps": steps})
            for module, counts in ((FORECASTS, ours), ("with_neuralforecast", theirs))
            for steps in counts
        ]
        times, infos = bench.compare(*entries)
        if len({info["weights"] for info in infos}) > 1:
            raise RuntimeError(f"{model}: not the same network: {infos}")
        mine, other = (
            (times[k + 1] - times[k]) / (counts[1] - counts[0])
            for k, counts in ((0, ours), (2, theirs))
        )
        pace.setdefault(model, shape["batch"] / mine)
        rows.append((
            f"step of {model}, {_shape(shape)}", 2, NAMES["with_neuralforecast"], us(mine),
            us(other), f"{other / mine:.2f}x", f"{asked}x", verdict(other / mine, asked),
            f"{shape['batch'] / mine:,.0f}, {shape['batch'] / other:,.0f}",
        ))  # fmt: skip
    for model in ("DLinear", "NHITS"):
        (mine, other), _ = bench.compare(
            (FORECASTS, 2, "air_passengers", {"model": model}),
            ("with_neuralforecast", 2, "air_passengers", {"model": model}),
        )
        rows.append((
            f"AirPassengers: import, 500 steps of {model}, predict", 2,
            NAMES["with_neuralforecast"], f"{mine:.2f} s", f"{other:.2f} s",
            f"{other / mine:.2f}x", "10x", verdict(other / mine, 10), "-",
        ))  # fmt: skip
    one = {"horizon": 24, "input_size": 168, "calls": 10}
    (array, frame, other), _ = bench.compare(
        (FORECASTS, 2, "forecast_predict", one | {"form": "array"}),
        (FORECASTS, 2, "forecast_predict", one),
        ("with_neuralforecast", 2, "forecast_predict", one),
    )
    latency = table(
        ("predict one series, N-HiTS, 168 steps to 24", "ctrain", "asked", "ok", "neuralforecast"),
        ("from an array", us(array), "1 ms", verdict(array, 1e-3, below=True), "-"),
        ("from a frame", us(frame), "2 ms", verdict(frame, 2e-3, below=True), us(other)),
    )
    peaks = [
        bench.once(module, 2, "forecast_memory", {"model": "NHITS", **large, "steps": 5})["peak"]
        for module in (FORECASTS, "with_neuralforecast")
    ]
    memory = table(
        ("N-HiTS, " + _shape(large), "ctrain", "neuralforecast", "share", "asked", "ok"),
        ("peak of the process, import and data included", *(f"{p * 1e-6:,.0f} MB" for p in peaks),
         f"{peaks[0] / peaks[1]:.2f}", "0.20", verdict(peaks[0], peaks[1] / 5, below=True)),
    )  # fmt: skip
    long = {"n_series": 500, "rows": 2000}
    (csv, parquet), sizes = bench.compare(
        (FORECASTS, 2, "read_series", long | {"kind": "csv"}),
        (FORECASTS, 2, "read_series", long | {"kind": "parquet"}),
    )
    megabytes = " and ".join(f"{info['bytes'] * 1e-6:.0f}" for info in sizes)
    files = table(
        ("read 500 series x 2,000 rows", "CSV", "Parquet", "ratio", "asked", "ok"),
        (f"{megabytes} MB, from the path to sorted and checked series", us(csv), us(parquet),
         f"{csv / parquet:.0f}x", "10x", verdict(csv / parquet, 10)),
    )  # fmt: skip
    return (
        "The same model of neuralforecast's default size, windows of the same series, Adam with "
        "the same rate, mean absolute error, no clipping, no validation, its default scaler; "
        "DeepAR: the likelihood of Student's t distribution, of all 24 steps of the horizon, where "
        "neuralforecast's default compares one. A step is the difference of two fits by the steps "
        "that they differ in. N-HiTS, the smaller series: "
        f"{pace['NHITS']:,.0f} windows/s, asked 11,000: {verdict(pace['NHITS'], 11_000)}.\n\n"
        f"{table(*rows)}\n\n{latency}\n\n{memory}\n\n{files}"
    )


def _shape(shape: dict) -> str:
    return "{n_series} x {rows:,}, {input_size} to {horizon}, batch {batch}".format(**shape)
