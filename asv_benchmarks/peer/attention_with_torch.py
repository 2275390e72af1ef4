"""PyTorch's side of attention, eager: its module, and its fused function between two products."""

from __future__ import annotations

import torch
from torch.func import functional_call
from torch.nn import MultiheadAttention, functional

from . import problem


def block(threads: int, time: int, size: int, heads: int, batch: int, way: str):
    """Forward and backward of self-attention over sequences plus learned positions."""
    torch.set_num_threads(threads)
    weights = {k: torch.from_numpy(v) for k, v in problem.attention(time, size).items()}
    parts = ("query", "key", "value")
    joint = [
        torch.cat([weights[f"attention.{part}.weight"].T for part in parts]),
        torch.cat([weights[f"attention.{part}.bias"] for part in parts]),
    ]
    out = [weights["attention.out.weight"].T.contiguous(), weights["attention.out.bias"]]
    positions, *parameters = (
        p.clone().requires_grad_() for p in (weights["positions.weight"], *joint, *out)
    )
    x = torch.from_numpy(problem.sequences(batch, time, size)[0])
    above = torch.ones_like(x)
    attend = {"MultiheadAttention": _module, "scaled_dot_product_attention": _function}[way](
        size, heads, *parameters
    )

    def call():
        y = attend(x + positions)
        return torch.autograd.grad(y, [positions, *parameters], above)

    checked = sum(float(g.abs().sum(dtype=torch.float64)) for g in call())
    return call, 1, {"checked": checked}


def _module(size, heads, weight, bias, out_weight, out_bias):
    module = MultiheadAttention(size, heads, batch_first=True)
    given = {
        "in_proj_weight": weight, "in_proj_bias": bias,
        "out_proj.weight": out_weight, "out_proj.bias": out_bias,
    }  # fmt: skip

    def attend(h):
        answer, _ = functional_call(module, given, (h, h, h), {"need_weights": False})
        return answer

    return attend


def _function(size, heads, weight, bias, out_weight, out_bias):
    def attend(h):
        joint = functional.linear(h, weight, bias)
        parts = joint.unflatten(-1, (3, heads, size // heads)).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(*parts)
        return functional.linear(y.transpose(1, 2).flatten(-2), out_weight, out_bias)

    return attend
