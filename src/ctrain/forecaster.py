"""The forecaster: its parameters, and the fit of all windows of all series."""

from __future__ import annotations

import copy
import time

import numpy as np
from sklearn.utils.metaestimators import available_if

from . import checkpoint, losses, models, objective, scalers, training
from ._core.source import Windows
from .callbacks.protocol import with_callbacks
from .data import Panel, Schema, SeriesScaler
from .estimator import takes_steps
from .forecasting import Forecasting
from .intervals import Conformal
from .rules import find
from .state import State
from .units import Units
from .validation import answers_unknown_names, check_bool, check_choice, check_count, check_int
from .window_choice import informative, weights_of, window_rows
from .windowed import WindowNetwork

#: architectures by name
MODELS = {
    "nlinear": models.NLinear,
    "dlinear": models.DLinear,
    "mlp": lambda: models.MLP((1024, 1024)),
    "nbeats": models.NBEATS,
    "nhits": models.NHITS,
    "tide": models.TiDE,
    "tcn": models.TCN,
    "rnn": models.RNN,
    "lstm": models.LSTM,
    "gru": models.GRU,
    "patchtst": models.PatchTST,
    "tft": models.TFT,
    "vanillatransformer": models.VanillaTransformer,
    "tsmixer": models.TSMixer,
    "deepar": models.DeepAR,
    "itransformer": models.iTransformer,
}


class Forecaster(Forecasting):
    """Forecasting of many series by one network, from frames to intervals.

    A network sees the last `input_size` values of a series and forecasts the next `horizon`. All
    windows of all series train it; none is ever copied out of the data.

    Parameters
    ----------
    model : str, callable or object, default="nhits"
        The name of a model in lower case, an object of :mod:`ctrain.models`, or one of your own:
        ``model(tape, past_y)``, or ``record(tape, inputs, shape)`` with the inputs ``past_y``,
        ``past_mask`` of shape (input_size,), ``past`` (input_size, n_hist_exog), ``future``
        (input_size + horizon, n_futr_exog) and ``static`` (n_stat_exog,), as far as there are such
        covariates; on the training tape also ``future_y`` (horizon,), scaled as `past_y` and 0
        where it is missing, for teacher forcing. With the attribute ``multivariate = True`` it
        forecasts all series at once: ``past_y`` is (input_size, n_series), the others have the
        axis of the series after time, too (`static` first), the forecast is (horizon, n_series).
    horizon : int
        Steps to forecast.
    input_size : int
        Steps of the past that the network sees.
    loss : str, Loss or callable, default="absolute_error"
        A name or object of :mod:`ctrain.losses`; compares scaled values, the mean over the steps.
        A likelihood ("normal", "student_t", "negative_binomial") brings intervals of 80 and 90 %.
    season : int or None, default=None
        Steps of a season, such as 24. The loss then compares values in units of the seasonal naive
        error of each series' training part, mean absolute (for "squared_error" root mean square),
        instead of scaled ones: "absolute_error", also "mase", is MASE, "squared_error", also
        "msse", the square of RMSSE.
    quantiles : sequence of float, default=None
        Levels in (0, 1) to forecast, by the quantile loss or of a likelihood; the forecast is the
        one next to 0.5.
    scaler : str, Scaler or None, default="standard"
        What is taken out of each window before the network and put back after it: standard,
        robust, minmax, last, revin, none, or an object of :mod:`ctrain.scalers`.
    series_scaler : {"none", "standard", "robust", "minmax"}, default="none"
        Units of each series, from its training part. Covariates are always standardised.
    conformal : int or None, default=None
        Windows at the end of each series by whose errors intervals are calibrated: the last ones
        of the validation rows, or if there are not enough, of an inner fit that does not see them.
    freq : str, int or None, default=None
        Steps from one time stamp to the next: an alias such as "h", "D", "MS", or an integer;
        None infers it.
    id_col, time_col, target_col : str, default="unique_id", "ds", "y"
        Columns of the frame; ``id_col=None`` for a single series.
    futr_exog, hist_exog, stat_exog : sequence of str, default=()
        Columns known in the future, known in the past only, and constant for a series.
    fill_gaps, missing : {"mask", "forward", "zero"} or None, default=None
        What becomes of missing rows and of NaN targets; None is an error.
    step_size : int, default=1
        Steps from one training window to the next.
    start_padding : bool, default=False
        Whether windows may begin before their series, padded with zeros that a mask hides.
    short : {"error", "drop"}, default="error"
        What becomes of series that are too short for the windows asked for.
    horizon_weight : sequence of float of length horizon, default=None
        Weight of each step in the loss.
    window_weight : callable, default=None
        ``window_weight(stamps, values)``: weights of training windows from the time stamp (UTC if
        there is a time zone) and the value (NaN if not available) of the first step that each
        forecasts, arrays of shape (n_windows,). Windows of weight 0 are left out. A multivariate
        model's windows are of all series: values (n_windows, n_series).
    optimizer, learning_rate_init, schedule, alpha, l1, clip_norm, clip_value, accumulate_steps
        As of :class:`ctrain.Regressor`.
    batch_size : int, default=256
        Windows of one step.
    max_iter : int, default=100
        Passes over all windows (epochs); with many series that is a lot of steps.
    max_steps : int or None, default=None
        Number of optimizer steps; wins over `max_iter`.
    max_time, shuffle, validation_interval, n_iter_no_change, tol
        As of :class:`ctrain.Regressor`.
    early_stopping : bool or "auto", default="auto"
        Whether to stop and to keep the best weights by the loss on the validation rows; "auto":
        if `val_size` is given.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the computation and of forecasts.
    n_jobs, random_state, warm_start, verbose
        As of :class:`ctrain.Regressor`.

    Attributes
    ----------
    history_ : History
    loss_curve_, validation_loss_curve_, lr_curve_ : list
    n_iter_, t_, best_epoch_, stopped_by_, fit_time_
        As of :class:`ctrain.Regressor`.
    n_windows_ : int
        Training windows that count.

    Examples
    --------
    >>> from ctrain import Forecaster
    >>> from ctrain.data import load_air_passengers
    >>> fc = Forecaster("nlinear", horizon=12, input_size=24, max_steps=100, random_state=0)
    >>> fc.fit(load_air_passengers()).predict()["NLinear"].shape
    (12,)
    """

    monitor, metrics = "loss", None

    @answers_unknown_names
    def __init__(
        self,
        model="nhits",
        *,
        horizon,
        input_size,
        loss="absolute_error",
        season=None,
        quantiles=None,
        scaler="standard",
        series_scaler="none",
        conformal=None,
        freq=None,
        id_col="unique_id",
        time_col="ds",
        target_col="y",
        futr_exog=(),
        hist_exog=(),
        stat_exog=(),
        fill_gaps=None,
        missing=None,
        step_size=1,
        start_padding=False,
        short="error",
        horizon_weight=None,
        window_weight=None,
        optimizer="adamw",
        learning_rate_init=1e-3,
        schedule="warmup_cosine",
        alpha=0.0,
        l1=0.0,
        clip_norm=1.0,
        clip_value=None,
        batch_size=256,
        accumulate_steps=1,
        max_iter=100,
        max_steps=None,
        max_time=None,
        shuffle=True,
        early_stopping="auto",
        validation_interval=1,
        n_iter_no_change=10,
        tol=1e-4,
        dtype="float32",
        n_jobs=None,
        random_state=None,
        warm_start=False,
        verbose=0,
    ):
        self.model = model
        self.horizon = horizon
        self.input_size = input_size
        self.loss = loss
        self.season = season
        self.quantiles = quantiles
        self.scaler = scaler
        self.series_scaler = series_scaler
        self.conformal = conformal
        self.freq = freq
        self.id_col = id_col
        self.time_col = time_col
        self.target_col = target_col
        self.futr_exog = futr_exog
        self.hist_exog = hist_exog
        self.stat_exog = stat_exog
        self.fill_gaps = fill_gaps
        self.missing = missing
        self.step_size = step_size
        self.start_padding = start_padding
        self.short = short
        self.horizon_weight = horizon_weight
        self.window_weight = window_weight
        self.optimizer = optimizer
        self.learning_rate_init = learning_rate_init
        self.schedule = schedule
        self.alpha = alpha
        self.l1 = l1
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.batch_size = batch_size
        self.accumulate_steps = accumulate_steps
        self.max_iter = max_iter
        self.max_steps = max_steps
        self.max_time = max_time
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_interval = validation_interval
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    # ------------------------------------------------------------------- fitting

    @with_callbacks
    def fit(self, df, *, static=None, val_size=0, resume=None):
        """Train the network on all windows.

        Parameters
        ----------
        df : frame, path or array
            A long frame with one row for each series and time stamp (pandas, polars, Arrow, a dict
            of arrays, or the path of a CSV or Parquet file), or an array of shape (time,) or
            (series, time).
        static : frame, default=None
            One row for each series with `stat_exog`; None if they are columns of `df`.
        val_size : int, default=0
            Rows at the end of each series that are forecast for validation instead of trained on.
        resume : str or path-like, default=None
            Checkpoint of an interrupted fit of these data with these parameters.

        Returns
        -------
        Forecaster
            Itself.

        Raises
        ------
        ValueError, TypeError
            Before any work: if a parameter is out of its range or the data do not fit, naming
            series and time stamp. During the fit: if loss or gradient stop being finite.
        """
        started = time.perf_counter()
        self._check_parameters()
        check_count("val_size", val_size, 0)
        panel = self._read_anew(df, static)
        self._fit_panel(panel, val_size, resume)
        self.fit_time_ = time.perf_counter() - started
        return self

    def _fit_panel(self, panel: Panel, val_size: int, resume=None) -> None:
        n_out, n_windows, least = self.horizon, self.conformal, 0
        if 0 < val_size < n_out:
            raise ValueError(
                f"val_size={val_size} rows hold no window of horizon={n_out}; it must be 0 or at "
                f"least {n_out}"
            )
        stops = self.early_stopping is True or (self.early_stopping == "auto" and val_size > 0)
        if stops and not val_size:
            raise ValueError(
                "early_stopping=True needs rows to validate on: fit(..., val_size=...)"
            )
        if n_windows is not None and val_size < n_out + n_windows - 1:
            least = n_out + n_windows - 1  # rows that an inner fit must not see
        reason = "horizon" + " + val_size" * (val_size > 0)
        reason += " + the conformal windows" * (least > 0)
        panel = panel.check_length(*self._past_needed(n_out + val_size + least, reason), self.short)
        draft = copy.copy(self)
        train_stop = panel.offsets[1:] - val_size
        self._check_values(panel, train_stop)
        draft._units = Units(self.series_scaler).fit(panel, train_stop)
        scaled = draft._units.apply(panel, train_stop)
        source, rows = draft._training_windows(panel, scaled, train_stop)
        validation = None
        if val_size:
            count = np.full(panel.n_series, val_size - n_out + 1)
            unit = draft._unit(panel, train_stop)
            validation = (draft._windows(scaled, train_stop, count, unit=unit), None)
        settings = draft._settings(source.n_rows if rows is None else len(rows), stops)
        saved = None if resume is None else checkpoint.read(resume)
        seed = draft._seed_of_fit() if saved is None else saved[0]["state"]["seed"]
        network = draft._network_for(source, not panel.mask.all(), seed)
        training.check(network, settings)
        draft.n_windows_ = source.n_rows if rows is None else len(rows)
        data = {
            "n_series": panel.n_series, "n_rows": panel.n_rows, "n_windows": draft.n_windows_,
            "val_size": val_size,
        }  # fmt: skip
        inner = self._inner_conformal(panel, val_size, seed) if least else None
        state = draft._begin(network, data, settings, seed, saved)
        draft._tail, draft._conformal = panel.tail(self.input_size), inner
        self._train(draft, network, state, source, rows, settings, validation, None, (None, None))
        if n_windows is not None and inner is None:
            self._conformal = self._calibrated(panel)

    def _inner_conformal(self, panel: Panel, val_size: int, seed: int) -> Conformal:
        """Errors of a fit that does not see the last windows."""
        inner = self._apart().set_params(conformal=None, warm_start=False, random_state=seed)
        inner._fit_panel(
            panel.until(panel.offsets[1:] - self.horizon - self.conformal + 1), val_size
        )
        inner.conformal = self.conformal
        return inner._calibrated(panel)

    def _calibrated(self, panel: Panel) -> Conformal:
        """Errors of the last windows of each series."""
        count = np.full(panel.n_series, self.conformal)
        first = panel.offsets[1:] - self.horizon - self.conformal + 1
        raw, spread = self._at(panel, first, count, 1)
        each = window_rows(first, count, 1)[:, None] + np.arange(self.horizon)
        return Conformal.calibrate(panel.y[each], self._point(raw), panel.mask[each], spread)

    @available_if(takes_steps)
    @with_callbacks
    def partial_fit(self, df, *, static=None):
        """Train for one epoch on these series, with the optimizer's state so far.

        Parameters
        ----------
        df : frame, path or array
        static : frame, default=None

        Returns
        -------
        Forecaster
            Itself. Forecasts start at the end of these series; units of series that are known and
            intervals stay as they are.
        """
        self._check_parameters()
        first = not hasattr(self, "_network")
        if first:
            panel = self._read_anew(df, static)
        else:
            panel = self._read(df, static)
        panel = panel.check_length(*self._past_needed(self.horizon), self.short)
        draft = copy.copy(self)
        ends = panel.offsets[1:]
        self._check_values(panel, ends)
        if first:
            draft._units, draft._conformal = Units(self.series_scaler).fit(panel, ends), None
        else:
            draft._units = self._units.extended(panel)
        scaled = draft._units.apply(panel, ends)
        source, rows = draft._training_windows(panel, scaled, ends)
        state = State(seed=draft._seed_of_fit()) if first else self._state
        network, gaps = None if first else self._network, not panel.mask.all()
        if first or network.training is None or not network.knows(gaps, self.start_padding):
            network = draft._network_for(source, gaps, state.seed)
            if not first:
                network.continue_from(self._network)
        draft.n_windows_ = source.n_rows if rows is None else len(rows)
        settings = draft._settings(draft.n_windows_, False, partial=True)
        training.check(network, settings)
        state.begin(settings)
        draft._tail = panel.tail(self.input_size)
        self._train(draft, network, state, source, rows, settings, None, None, (None, None))
        return self

    def _training_windows(self, panel: Panel, scaled: Panel, stops: np.ndarray):
        """Windows whose horizon ends before ``stops[i]``, and which of them count: None for all."""
        begins, n_in, n_out = panel.offsets[:-1], self.input_size, self.horizon
        unit = self._unit(panel, stops)
        first = begins + (1 if self.start_padding else n_in)
        count = np.maximum(0, (stops - first - n_out) // self.step_size + 1)
        if self.window_weight is None and panel.mask.all():
            return self._windows(scaled, first, count, self.step_size, unit=unit), None
        at, weight = window_rows(first, count, self.step_size), None
        at = at.reshape(panel.n_series, -1).T if self._together() else at  # a row is a window
        if self.window_weight is not None:
            weight = weights_of(self.window_weight, panel, at, self.dtype)
        rows = np.arange(len(at)) if weight is None else np.flatnonzero(weight)
        if not panel.mask.all():
            some = informative(panel, at, n_in, n_out, self.horizon_weight)
            rows = rows[some[rows]]
            if not len(rows):
                raise ValueError(
                    f"no window of the {len(at)} has values both in its past and in its horizon"
                )
        rows = None if len(rows) == len(at) else rows
        return self._windows(scaled, first, count, self.step_size, weight, unit), rows

    def _unit(self, panel: Panel, stops: np.ndarray) -> np.ndarray | None:
        """In what the loss measures the errors of each series; None for scaled values."""
        if self.season is None:
            return None
        squared = isinstance(self._loss(), losses.SquaredError)
        return self._units.seasonal_error(panel, stops, self.season, squared).astype(self.dtype)

    def _check_values(self, panel: Panel, stops: np.ndarray) -> None:
        """Targets must be in the range of the precision, those of training in the loss's domain."""
        limit = min(float(np.finfo(self.dtype).max), 1e150)  # squares are taken in float64
        if max(float(panel.y.max()), -float(panel.y.min())) > limit:
            row = int(np.argmax(np.abs(panel.y.astype(np.float64)) > limit))
            raise ValueError(
                f"{self.target_col!r} of {panel.place(row)} is {panel.y[row]}, too large for "
                f"{self.dtype}; scale it" + " or set dtype='float64'" * (self.dtype == "float32")
            )
        loss = self._loss()
        for i, (begin, stop) in enumerate(zip(panel.offsets, stops, strict=False)):
            name = f"{self.target_col!r} of series {panel.name(i)}"
            loss.check_target(panel.y[begin:stop], name)

    def _network_for(self, source: Windows, gaps: bool, seed: int) -> WindowNetwork:
        shapes = dict(zip(source.names, source.shapes, strict=True))
        inputs = {k: v for k, v in shapes.items() if k not in ("y", "y_mask", "y_unit", "weight")}
        weight = self.horizon_weight
        return WindowNetwork(
            self._model(), self._loss(), inputs, self.horizon, self.dtype, seed,
            scaler=scalers.resolve(self.scaler), gaps=gaps, padded=self.start_padding,
            horizon_weight=None if weight is None else np.asarray(weight, np.float64),
            in_units="y_unit" in shapes,
        )  # fmt: skip

    # ------------------------------------------------------------------- parameters

    def _schema(self) -> Schema:
        return Schema(
            id_col=self.id_col, time_col=self.time_col, target_col=self.target_col,
            futr_exog=self.futr_exog, hist_exog=self.hist_exog, stat_exog=self.stat_exog,
            fill_gaps=self.fill_gaps, missing=self.missing,
        )  # fmt: skip

    def _model(self):
        if not isinstance(self.model, str):
            return self.model
        return find("model", self.model, MODELS)()

    def _loss(self) -> losses.Loss:
        return losses.resolve(objective.trained(self.loss, self.quantiles))

    def _check_model(self) -> None:
        check_int(self, "horizon", 1)
        check_int(self, "input_size", 1)
        check_int(self, "step_size", 1)
        check_int(self, "conformal", 1, also=None)
        check_int(self, "season", 1, also=None)
        check_bool(self, "start_padding")
        check_choice(self, "short", ("error", "drop"))
        check_choice(self, "dtype", ("float32", "float64"))
        scaler = scalers.resolve(self.scaler)
        scaler.validate()
        SeriesScaler(self.series_scaler)
        model = self._model()
        if isinstance(model, type) or not (callable(model) or hasattr(model, "record")):
            raise TypeError(
                "model must be a name, a callable model(tape, past_y) or an object with "
                f"record(tape, inputs, shape); got {self.model!r}"
            )
        objective.check(self)
        if self.window_weight is not None and not callable(self.window_weight):
            raise TypeError(f"window_weight must be callable; got {self.window_weight!r}")
        if self.horizon_weight is not None:
            weight = np.asarray(self.horizon_weight, np.float64)
            good = weight.shape == (self.horizon,) and np.isfinite(weight).all()
            if not good or (weight < 0).any() or not weight.any():
                raise ValueError(
                    f"horizon_weight must be {self.horizon} finite weights that are not negative, "
                    f"one for each step, and not all 0; got {self.horizon_weight!r}"
                )
