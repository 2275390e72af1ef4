"""JAX's side: one epoch is one compiled call, ``lax.scan`` over its steps."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from . import problem


def step(threads: int, layers: list[int], batch: int, rows: int):
    """AdamW with clipping by the global norm, the gather inside the scan."""
    X, y = map(jnp.asarray, problem.data(layers[0], rows))
    index = jnp.asarray(problem.order(rows, batch), jnp.int32)
    pairs = [(jnp.asarray(w), jnp.asarray(b)) for w, b in problem.weights(layers)]
    zeros = jax.tree.map(jnp.zeros_like, pairs)
    beta1, beta2 = problem.BETAS

    def mean_loss(pairs, x, target):
        for w, b in pairs[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = pairs[-1]
        return jnp.mean((x @ w + b - target) ** 2)

    def one_step(X, y, state, rows_of_step):
        pairs, m, v, t = state
        cost, g = jax.value_and_grad(mean_loss)(pairs, X[rows_of_step], y[rows_of_step])
        norm = jnp.sqrt(sum(jnp.sum(a * a) for a in jax.tree.leaves(g)))
        factor = jnp.minimum(1.0, problem.CLIP_NORM / (norm + 1e-6))
        g = jax.tree.map(lambda a: a * factor, g)
        t = t + 1
        m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, g)
        v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, g)
        size = problem.LEARNING_RATE / (1 - beta1**t)
        scale = 1 / jnp.sqrt(1 - beta2**t)
        decay = 1 - problem.LEARNING_RATE * problem.WEIGHT_DECAY
        pairs = jax.tree.map(
            lambda p, m, v: p * decay - size * m / (jnp.sqrt(v) * scale + problem.EPS), pairs, m, v
        )
        return (pairs, m, v, t), (cost, norm)

    def scan(state, X, y, index):  # data as arguments: nothing is folded while compiling
        return lax.scan(partial(one_step, X, y), state, index)

    epoch = jax.jit(scan, donate_argnums=0)
    state = (pairs, zeros, jax.tree.map(jnp.zeros_like, pairs), jnp.float32(0))

    def call():
        nonlocal state
        state, costs = epoch(state, X, y, index)
        jax.block_until_ready(costs)

    call()
    return call, len(index), {"loss": problem.loss(state[0], np.asarray(X), np.asarray(y))}
