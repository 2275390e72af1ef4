"""The tape: a network written down once, as a list of operations on symbolic tensors.

No operation sees the batch axis, so the number of rows is free at run time.
"""

from __future__ import annotations

import inspect

import numpy as np

from . import random
from .ops import OPS, Op
from .parameters import Parameters
from .symbols import Level, Node, Tensor, Tracked


class Tape:
    """Records a network and replays it in C.

    Call the operations of the table as methods (``tape.matmul(x, w)``, ``tape.gelu(z)``, ...) on
    the tensors that :meth:`input`, :meth:`parameter` and :meth:`constant` return. Shapes are
    checked while recording. Anything that is not a tensor becomes a constant.

    Parameters
    ----------
    dtype : {"float32", "float64"}, default="float32"
        Precision of every tensor.
    training : bool, default=True
        Whether dropout and other training-only operations are recorded. Models may read it.
    random_state : int, default=0
        Seed of parameter initialisation and of random operations.
    parameters : Parameters, default=None
        A store to share with another tape, so that both see the same weights by name.

    Attributes
    ----------
    nodes : list of Node
        What was recorded, in order.
    tensors : list of Tensor
        All tensors, inputs, parameters and constants among them.
    inputs : dict of str to Tensor
    parameters : Parameters
        Weights by name.
    tracked : list of Tracked
        What :meth:`track` has recorded.

    Examples
    --------
    >>> import numpy as np
    >>> import ctrain
    >>> tape = ctrain.Tape(dtype="float64")
    >>> x = tape.input((2,), name="x")
    >>> w = tape.parameter(np.array([[1.0], [-1.0]]), name="w")
    >>> loss = tape.mean(tape.square(tape.matmul(x, w)))
    >>> tape.forward(x=np.array([[3.0, 1.0], [0.0, 2.0]]))
    >>> tape.value(loss)
    array([4., 4.])
    >>> tape.backward(loss)
    >>> tape.gradient(w)
    array([[ 6.],
           [-2.]])
    """

    def __init__(
        self,
        dtype: str = "float32",
        training: bool = True,
        random_state: int = 0,
        parameters: Parameters | None = None,
    ) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be 'float32' or 'float64'; got {dtype!r}")
        self.training = bool(training)
        self.random_state = int(random_state)
        self.parameters = Parameters(self.dtype) if parameters is None else parameters
        if self.parameters.dtype != self.dtype:
            raise ValueError(
                f"the shared parameters are {self.parameters.dtype}, the tape is {self.dtype}"
            )
        self.nodes: list[Node] = []
        self.tensors: list[Tensor] = []
        self.inputs: dict[str, Tensor] = {}
        self.constants: dict[int, np.ndarray] = {}  # tensor id -> array
        self.parameter_of: dict[int, str] = {}  # tensor id -> name in the store
        self.tracked: list[Tracked] = []
        self._tensor_of: dict[str, Tensor] = {}  # parameter name -> tensor
        self._counts: dict[str, int] = {}
        self._run = None

    # ------------------------------------------------------------------ leaves

    def input(self, shape: tuple[int, ...], *, name: str) -> Tensor:
        """Declare a row-level input.

        Parameters
        ----------
        shape : tuple of int
            Shape of one sample.
        name : str
            Keyword under which :meth:`forward` takes its array, ``(n_rows, *shape)``.

        Returns
        -------
        Tensor
            Row-level.

        Raises
        ------
        ValueError
            If a size is below 1 or the name is taken.
        """
        if name in self.inputs:
            raise ValueError(f"input: the name {name!r} is taken; inputs need distinct names")
        tensor = self._tensor(_shape(shape, "input"), Level.ROW, name)
        self.inputs[name] = tensor
        return tensor

    def constant(self, value) -> Tensor:
        """Record an array that never changes.

        Parameters
        ----------
        value : array-like or float
            Finite or not; converted to the tape's dtype.

        Returns
        -------
        Tensor
        """
        array = np.array(value, dtype=self.dtype, order="C")
        tensor = self._tensor(array.shape, Level.CONSTANT, self._name("constant"))
        self.constants[tensor.id] = array
        return tensor

    def parameter(
        self,
        shape_or_array,
        *,
        name: str | None = None,
        init="glorot_uniform",
        decay: bool = True,
        trainable: bool = True,
    ) -> Tensor:
        """Declare a parameter, or find the one of that name.

        Parameters
        ----------
        shape_or_array : tuple of int, or array-like
            Shape to be filled by `init`, or the initial values.
        name : str, default=None
            The same name gives the same parameter, on this tape and on every tape that shares its
            store. Unnamed ones are counted.
        init : str or callable, default="glorot_uniform"
            Initializer, or ``init(shape, key) -> array``.
        decay : bool, default=True
            Whether weight decay and penalties apply. Biases and norm scales say False.
        trainable : bool, default=True
            Whether it gets a gradient.

        Returns
        -------
        Tensor
            Parameter-level.

        Raises
        ------
        ValueError
            If a size is below 1, the name is known with another shape, or `init` returns one.
        """
        name = self._name("parameter") if name is None else name
        known = self._tensor_of.get(name)
        parameter = self.parameters.declare(
            name, shape_or_array, init, decay, trainable, self.random_state
        )
        if known is not None:
            return known
        tensor = self._tensor(parameter.shape, Level.PARAMETER, name)
        self.parameter_of[tensor.id] = name
        self._tensor_of[name] = tensor
        return tensor

    # -------------------------------------------------------------- operations

    def dropout(self, x: Tensor, rate: float = 0.5) -> Tensor:
        """Zero each element with probability `rate` and scale the others by ``1 / (1 - rate)``.

        The identity on a tape with ``training=False``. The mask is drawn from a counter-based
        generator, so it depends on seed, node, step, row and element alone.

        Parameters
        ----------
        x : Tensor
        rate : float, default=0.5
            In [0, 1).

        Returns
        -------
        Tensor
            Of the shape of `x`.

        Raises
        ------
        ValueError
            If `rate` is out of its range.

        References
        ----------
        Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting,
        JMLR 15, 2014.
        """
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"dropout: rate must be in [0, 1); got {rate!r}")
        if not self.training or rate == 0.0:
            return x
        keep = 1.0 - rate
        return self.mul(x, self.bernoulli(x, p=keep, scale=1.0 / keep))

    def track(self, parameter: Tensor, x: Tensor, momentum: float = 0.1) -> None:
        """Let a parameter be a running average: ``(1 - momentum) * parameter + momentum * x``.

        Every optimizer step takes in the value of `x` once, elements that are not finite aside; a
        step that is abandoned leaves no trace. Nothing on a tape with ``training=False``.

        Parameters
        ----------
        parameter : Tensor
            Declared with ``trainable=False``.
        x : Tensor of the same shape
            Without rows: a parameter, or of what reads the whole batch.
        momentum : float, default=0.1
            In [0, 1].

        Raises
        ------
        ValueError
            If one of these does not hold.
        """
        name = self.parameter_of.get(parameter.id)
        if name is None or self.parameters[name].trainable:
            raise ValueError(
                f"track: {parameter.name} must be a parameter that is declared with trainable=False"
            )
        if x.level == Level.ROW or x.shape != parameter.shape:
            raise ValueError(
                f"track: x must have the shape {parameter.shape} of {name}, and no rows; got {x!r}"
            )
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"track: momentum must be in [0, 1]; got {momentum!r}")
        if self.training:
            self.tracked.append(Tracked(parameter, x, float(momentum)))

    def record(self, op: str, *inputs, **attributes) -> Tensor:
        """Record the operation `op` of the table; ``tape.<op>(...)`` is the same.

        Parameters
        ----------
        op : str
            Name of the operation.
        *inputs : Tensor, array-like or None
            None where an optional input is absent.
        **attributes
            As :doc:`/operations` lists them.

        Returns
        -------
        Tensor

        Raises
        ------
        ValueError
            If shapes, levels or attributes do not fit; names operation, inputs and rule.
        TypeError
            If an input is neither a tensor nor numbers.
        """
        row = OPS[op]
        for name, x in zip(row.required, inputs, strict=False):
            if x is None:
                raise TypeError(f"{op}: {name} must be a tensor, an array or a number; got None")
        tensors = [None if x is None else self.as_tensor(x, op) for x in inputs]
        present = [x for x in tensors if x is not None]
        level = max(x.level for x in present)
        shape = _common_shape(op, present) if row.broadcasts else None
        if op != "broadcast":
            for i, x in enumerate(tensors):
                if x is None or i in row.weights:
                    continue
                lift = level == Level.ROW and x.level < Level.ROW
                to = x.shape if shape is None else shape
                if lift or x.shape != to:
                    tensors[i] = self.record("broadcast", x, shape=to, batch=lift)
        for i in row.weights:
            if i < len(tensors) and tensors[i] is not None and tensors[i].level == Level.ROW:
                if op == "broadcast":
                    continue
                raise ValueError(
                    f"{op}: {row.inputs[i]} must be a parameter, a constant or made of them; "
                    f"got the row-level tensor {tensors[i].name!r}"
                )
        answer = row.rule(*tensors, **attributes)
        if row.batch:
            if level != Level.ROW:
                raise ValueError(f"{op}: x must be row-level; got {present[0]!r}")
            level = Level.PARAMETER
        elif attributes.get("batch") and op == "broadcast":
            level = Level.ROW
        if level == Level.CONSTANT:
            level = Level.PARAMETER  # computed before the rows, like every function of parameters
        output = self._tensor(tuple(answer.shape), level, self._name(op))
        self.nodes.append(
            Node(op, tuple(tensors), attributes, output, float(answer.flops),
                 tuple(int(i) for i in answer.ints), tuple(float(f) for f in answer.floats),
                 answer.kept)
        )  # fmt: skip
        self._run = None
        return output

    def as_tensor(self, x, op: str = "tape") -> Tensor:
        """Return `x` if it is a tensor of this tape, a constant if it is an array or a number.

        Parameters
        ----------
        x : Tensor, array-like or float
        op : str, default="tape"
            Who asks; stands in errors.

        Returns
        -------
        Tensor

        Raises
        ------
        ValueError
            If the tensor belongs to another tape.
        TypeError
            If it is neither.
        """
        if isinstance(x, Tensor):
            if x.id >= len(self.tensors) or self.tensors[x.id] is not x:
                raise ValueError(f"{op}: {x!r} belongs to another tape")
            return x
        if isinstance(x, (int, float, list, tuple, np.ndarray, np.generic)):
            return self.constant(x)
        raise TypeError(
            f"{op}: expected a tensor of this tape, an array or a number; got {type(x).__name__}"
        )

    # ---------------------------------------------------------------- replaying

    def forward(self, **inputs) -> None:
        r"""Compute every tensor for the given rows.

        Parameters
        ----------
        **inputs : array-like of shape (n_rows, \*shape)
            One array for each input.

        Raises
        ------
        ValueError
            If an input is missing or unknown, or has another shape or number of rows.
        """
        from .eager import Run

        self._run = Run(self, inputs)

    def backward(self, loss: Tensor, weight=None) -> None:
        """Compute the gradient of the mean loss for every tensor.

        Parameters
        ----------
        loss : Tensor
            Row-level, shape ``()``; the quantity is ``sum(weight * loss) / sum(weight)``, or
            ``sum(weight * a) / sum(weight * b)`` for ``tape.ratio(a, b)``.
        weight : array-like of shape (n_rows,), default=None
            Weight of each row; None = ones.

        Raises
        ------
        RuntimeError
            If :meth:`forward` has not been called since the last operation was recorded.
        ValueError
            If the weights have another shape, or all rows together weigh nothing.
        """
        self._replayed("backward").backward(loss, weight)

    def value(self, tensor: Tensor) -> np.ndarray:
        r"""Value of a tensor after :meth:`forward`.

        Parameters
        ----------
        tensor : Tensor

        Returns
        -------
        ndarray of shape (n_rows, \*shape), or of shape ``shape`` without rows
            A copy.

        Raises
        ------
        RuntimeError
            If :meth:`forward` has not been called since the last operation was recorded.
        """
        return self._replayed("value").value(self.as_tensor(tensor, "value"))

    def gradient(self, tensor: Tensor) -> np.ndarray:
        """Gradient of the mean loss for a tensor after :meth:`backward`.

        Parameters
        ----------
        tensor : Tensor

        Returns
        -------
        ndarray of the shape of its value
            Zeros where the loss does not depend on it.

        Raises
        ------
        RuntimeError
            If :meth:`backward` has not been called since :meth:`forward`.
        """
        return self._replayed("gradient").gradient(self.as_tensor(tensor, "gradient"))

    def _replayed(self, what: str):
        if self._run is None:
            raise RuntimeError(f"{what}: call tape.forward(...) first, after the last recording")
        return self._run

    # --------------------------------------------------------------- description

    def describe(self) -> str:
        """Return a table of the recorded operations with shapes, flops and bytes of one row.

        Returns
        -------
        str
            Flops are of the forward pass; bytes are what an operation reads and writes.
        """
        from .listing import described

        return described(self)

    # ------------------------------------------------------------------ details

    def _tensor(self, shape: tuple[int, ...], level: Level, name: str) -> Tensor:
        tensor = Tensor(len(self.tensors), shape, level, name)
        self.tensors.append(tensor)
        return tensor

    def _name(self, kind: str) -> str:
        count = self._counts.get(kind, 0)
        self._counts[kind] = count + 1
        return f"{kind}_{count}"

    def stream(self, node: Node) -> int:
        """Random stream of a node: the same on every tape that records it under that name."""
        return random.key("stream", node.name)


def _shape(shape, what: str) -> tuple[int, ...]:
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if any(not isinstance(n, (int, np.integer)) or n < 1 for n in shape):
        raise ValueError(f"{what}: sizes must be integers of at least 1; got {shape}")
    return tuple(int(n) for n in shape)


def _common_shape(op: str, tensors: list[Tensor]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(x.shape for x in tensors))
    except ValueError:
        shapes = ", ".join(f"{x.name} {x.shape}" for x in tensors)
        raise ValueError(f"{op}: shapes do not broadcast together: {shapes}") from None


def _method(op: Op):
    """``Tape.<op>``: binds attributes by name or position, as the shape rule declares them."""
    signature = op.signature
    names = list(signature.parameters)
    variadic = op.inputs[0].startswith("*")
    hidden = {"batch"} & set(op.attributes)

    def method(self, *args, **kwargs):
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{op.name}: {error}; call it as {op.name}{signature}") from None
        given = bound.arguments
        if variadic:
            inputs = given.pop(names[0], ())
            if not inputs:
                raise ValueError(f"{op.name}: at least one tensor is needed; got none")
        else:
            inputs = tuple(given.pop(n, None) for n in op.inputs)
        return self.record(op.name, *inputs, **given)

    method.__name__ = op.name
    method.__qualname__ = f"Tape.{op.name}"
    method.__doc__ = op.doc
    shown = [p for p in signature.parameters.values() if p.name not in hidden]
    self_parameter = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    method.__signature__ = signature.replace(
        parameters=[self_parameter, *shown], return_annotation=Tensor
    )
    return method


for _op in OPS.values():
    setattr(Tape, _op.name, _method(_op))
del _op

#: what PyTorch's users call these
Tape.mse = Tape.squared_error
Tape.mae = Tape.absolute_error
Tape.swish = Tape.silu
