"""Columns on a common scale, inside the network: what reads a raw table needs nothing before it."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator


class Standardized(BaseEstimator):
    """A model that sees standardised columns, and may put out standardised targets.

    Parameters
    ----------
    model : callable or object
        Sees ``(x - mean) / scale``.
    mean, scale : array-like of shape (n_features,)
    target_mean, target_scale : float or array-like of shape (n_targets,), default=0.0, 1.0
        The prediction is ``model * target_scale + target_mean``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from ctrain import Regressor
    >>> from ctrain.models import MLP, Standardized
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> model = Standardized(MLP((32,)), X.mean(axis=0), X.std(axis=0), y.mean(), y.std())
    >>> reg = Regressor(model=model, max_iter=20, batch_size=32, random_state=0).fit(X, y)
    >>> bool(reg.score(X, y) > 0.4)
    True
    """

    def __init__(self, model, mean, scale, target_mean=0.0, target_scale=1.0) -> None:
        self.model = model
        self.mean = mean
        self.scale = scale
        self.target_mean = target_mean
        self.target_scale = target_scale

    def record(self, tape, inputs: dict, shape: tuple[int, ...]) -> dict:
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``x`` of row shape (n_features,).
        shape : tuple of int
            Of the prediction.

        Returns
        -------
        dict of str to Tensor
            ``prediction``, and what else the model puts out.

        Raises
        ------
        ValueError
            If means or scales do not fit, are not finite, or a scale is not positive.
        """
        x = inputs["x"]
        mean, scale = (_checked(name, getattr(self, name), x.shape) for name in ("mean", "scale"))
        x = tape.div(tape.sub(x, tape.constant(mean)), tape.constant(scale))
        if hasattr(self.model, "record"):
            answer = self.model.record(tape, {**inputs, "x": x}, shape)
        else:
            answer = self.model(tape, x)
        outputs = dict(answer) if isinstance(answer, dict) else {"prediction": answer}
        names = ("target_mean", "target_scale")
        mean, scale = (_checked(name, getattr(self, name), shape[:1]) for name in names)
        if mean.any() or (scale != 1.0).any():
            flat = (-1, *[1] * (len(shape) - 1))
            prediction = tape.mul(outputs["prediction"], tape.constant(scale.reshape(flat)))
            outputs["prediction"] = tape.add(prediction, tape.constant(mean.reshape(flat)))
        return outputs


def _checked(name: str, values, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.shape not in ((), shape) or not np.isfinite(array).all():
        raise ValueError(
            f"Standardized: {name} must be finite and of shape {shape}; got shape {array.shape}"
        )
    if name.endswith("scale") and (array <= 0).any():
        raise ValueError(f"Standardized: {name} must be positive; got {array.min():g}")
    return np.broadcast_to(array, shape)
