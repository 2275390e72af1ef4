"""Test inputs for every row of the operation table, by family."""

from . import batch, convolution, elementwise, linear, loss, random, recurrent, reduce, shape
from .case import Case

CASES: dict[str, list[Case]] = {
    **batch.CASES,
    **convolution.CASES,
    **elementwise.CASES,
    **linear.CASES,
    **loss.CASES,
    **random.CASES,
    **recurrent.CASES,
    **reduce.CASES,
    **shape.CASES,
}
