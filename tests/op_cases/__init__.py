"""Test inputs for every row of the operation table, by family."""

from . import (
    attention,
    batch,
    convolution,
    elementwise,
    linear,
    loss,
    normalization,
    random,
    recurrent,
    reduce,
    shape,
)
from .case import Case

CASES: dict[str, list[Case]] = {
    **attention.CASES,
    **batch.CASES,
    **convolution.CASES,
    **elementwise.CASES,
    **linear.CASES,
    **loss.CASES,
    **normalization.CASES,
    **random.CASES,
    **recurrent.CASES,
    **reduce.CASES,
    **shape.CASES,
}
