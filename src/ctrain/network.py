"""A model and a loss, recorded for training and for inference over one store of parameters."""

from __future__ import annotations

from math import prod

import numpy as np

from ._core import random
from ._core.listing import recorded
from ._core.parameters import Parameters
from ._core.plan import SLAB_BYTES, compile_plan
from ._core.program import Program
from ._core.source import Source
from ._core.step import accumulate, predict
from ._core.symbols import Level, Tensor
from ._core.tape import Tape
from .distributions import Scaled
from .losses import Loss

#: rows of one evaluation slab, and the most that one call of the predictor plans for
EVALUATION_ROWS = 8192
PREDICTION_ROWS = 1 << 20


class Network:
    """Two tapes over one store: with dropout and loss for training, without for inference.

    Parameters
    ----------
    model : callable or object
        ``model(tape, x)``, or an object with ``record(tape, inputs, shape)``.
    loss : Loss
    inputs : dict of str to tuple of int
        Row shape of each input.
    n_targets : int
    dtype : dtype
    seed : int
        Of initialisation and of random operations.

    Attributes
    ----------
    parameters : Parameters
    training, inference : Tape
    outputs : dict of str to Tensor
        Of the inference tape: ``prediction``, and whatever else the model names.
    """

    def __init__(
        self,
        model,
        loss: Loss,
        inputs: dict[str, tuple[int, ...]],
        n_targets: int,
        dtype,
        seed: int,
    ) -> None:
        self.n_targets = n_targets
        self.dtype = np.dtype(dtype)
        self.seed = random.key(seed, "network")
        self.parameters = Parameters(self.dtype)
        self.training, self._training_loss, _ = self._record(model, loss, inputs, True)
        self.inference, self._inference_loss, self.outputs = self._record(
            model, loss, inputs, False
        )
        self._programs: dict = {}

    def _record(self, model, loss, inputs, training):
        tape = Tape(self.dtype, training, self.seed, self.parameters)
        tensors = {name: tape.input(shape, name=name) for name, shape in inputs.items()}
        shape = (self.n_targets, loss.width) if loss.width > 1 else (self.n_targets,)
        cost, outputs = self._problem(tape, model, loss, tensors, shape)
        cost = tape.as_tensor(cost, "loss")
        if cost.shape != () or cost.level != Level.ROW:
            raise ValueError(
                "loss must return one number per row, a row-level tensor of shape (); got "
                f"{cost!r}; reduce it with tape.mean"
            )
        if training and not compile_plan(tape, 1, loss=cost, backward=True).updated:
            raise ValueError("model: the loss depends on no trainable parameter; nothing to fit")
        return tape, cost, outputs

    def _problem(self, tape: Tape, model, loss: Loss, inputs: dict, shape: tuple[int, ...]):
        """Record model and loss; answer the loss and the outputs for prediction."""
        target = tape.input((self.n_targets,), name="y")
        if loss.head is not None:
            inputs = {**inputs, "distribution": Scaled(loss.head)}
        outputs = record_model(model, tape, inputs, shape)
        raw = outputs["prediction"]
        cost = loss.record(tape, raw, target)
        if tape.training:
            return cost, outputs
        paths = outputs.get("samples")
        answer = loss.link(tape, raw) if paths is None else loss.of_samples(tape, paths)
        return cost, {**outputs, "prediction": answer}

    @classmethod
    def restored(
        cls, entries: list, constants: list, outputs: dict[str, int], parameters: Parameters,
        n_targets: int, seed: int,
    ) -> Network:  # fmt: skip
        """Make a network that can predict, from the list of its inference tape.

        It has no training tape; one that is recorded anew may continue from it.
        """
        network = cls.__new__(cls)
        network.n_targets, network.dtype, network.seed = n_targets, parameters.dtype, seed
        network.parameters = parameters
        network.training = network._training_loss = network._inference_loss = None
        network.inference = recorded(entries, constants, parameters, seed)
        network.outputs = {name: network.inference.tensors[k] for name, k in outputs.items()}
        network._programs = {}
        return network

    def continue_from(self, other: Network) -> None:
        """Take the weights of another network, which must have the same parameters."""
        if other.dtype != self.dtype:
            raise ValueError(
                f"warm_start: the fitted network computes in {other.dtype}, these data ask for "
                f"{self.dtype}; set dtype, or warm_start=False"
            )
        mine, theirs = ([(p.name, p.shape) for p in n.parameters] for n in (self, other))
        if mine != theirs:
            raise ValueError(
                f"warm_start: the fitted network has the parameters {dict(theirs)}, this one "
                f"{dict(mine)}; change the data or the model back, or set warm_start=False"
            )
        for p in other.parameters:
            self.parameters.assign(p.name, p.value)

    def trainer(
        self, batch: int, n_threads: int, slab_bytes: int = SLAB_BYTES, tile_rows: int | None = None
    ) -> Program:
        """Compile the training tape for batches of up to `batch` rows."""
        plan = compile_plan(
            self.training, batch, loss=self._training_loss, backward=True,
            slab_bytes=slab_bytes, tile_rows=tile_rows,
        )  # fmt: skip
        return Program(plan, n_threads, self.seed)

    def predictor(self, n_threads: int, name: str = "prediction") -> Program:
        """Compile the inference tape for one output; kept for the next call."""
        key = (name, n_threads)
        if key not in self._programs:
            plan = compile_plan(self.inference, PREDICTION_ROWS, outputs=[self.outputs[name]])
            self._programs[key] = Program(plan, n_threads, self.seed)
        return self._programs[key]

    def evaluate(self, source: Source, rows: np.ndarray | None, n_threads: int) -> float:
        """Compute the mean loss over rows of a source (None: all), without dropout."""
        key = ("loss", n_threads)
        if key not in self._programs:
            plan = compile_plan(self.inference, EVALUATION_ROWS, loss=self._inference_loss)
            self._programs[key] = Program(plan, n_threads, self.seed)
        loss, weight = accumulate(self._programs[key], source, index=rows)
        return loss / weight if weight else float("nan")

    def predict(self, source: Source, n_threads: int, name: str = "prediction") -> np.ndarray:
        """Compute one output for all rows of a source.

        Returns
        -------
        ndarray of shape (n_rows, ...)

        Raises
        ------
        NotFiniteError
            If an input of a row is not finite in the network's dtype.
        """
        out = np.empty((source.n_rows, *self.outputs[name].shape), self.dtype)
        bad = predict(self.predictor(n_threads, name), source, [out])
        if bad >= 0:
            raise NotFiniteError(bad)
        return out

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_programs": {}}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.parameters.pack()  # here, not in the first predictions of several threads


class NotFiniteError(ValueError):
    """An input row is not finite in the network's dtype.

    Attributes
    ----------
    row : int
    """

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row} holds a value that is not finite")
        self.row = row


def record_model(
    model, tape: Tape, inputs: dict[str, Tensor], shape: tuple[int, ...], x: str = "x"
) -> dict[str, Tensor]:
    """Record a model and check what it returns; a plain function sees the input `x`."""
    if hasattr(model, "record"):
        answer = model.record(tape, inputs, shape)
    else:
        answer = model(tape, inputs[x])
    outputs = dict(answer) if isinstance(answer, dict) else {"prediction": answer}
    if "prediction" not in outputs:
        raise ValueError(f"model: the returned dict needs 'prediction'; got {sorted(outputs)}")
    for name, tensor in outputs.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"model: {name} must be a tensor of the tape; got {type(tensor).__name__}"
            )
        tape.as_tensor(tensor, f"model: {name}")  # of this tape
    prediction = outputs["prediction"]
    if prediction.level != Level.ROW:
        raise ValueError("model: the prediction does not depend on the input")
    # a lone number, or a flat answer to several quantiles
    if prediction.shape != shape and len(prediction.shape) < 2 and prediction.size == prod(shape):
        prediction = outputs["prediction"] = tape.reshape(prediction, shape)
    if prediction.shape != shape:
        values = " and quantile or class" if len(shape) > 1 else ""
        raise ValueError(
            f"model: the prediction must have shape {shape}, one value for each target{values}; "
            f"got {prediction.shape}"
        )
    return outputs
