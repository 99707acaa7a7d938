"""The gate arithmetic of an LSTM cell, shared by vectors and maps, with its gradient written out.

    i, f, o = σ(·)      g = tanh(·)        from one array of pre-activations, split in the order i, f, g, o
    c′ = f ⊙ c + i ⊙ g
    h′ = o ⊙ tanh(c′)

Autograd would walk the same formula through a dozen nodes, each with a fresh array, and join the four gradients at
the end. These passes are most of what a ConvLSTM step spends outside its convolutions, so the backward pass is ours:

    δ = ∂c′ + ∂h′ ⊙ o ⊙ (1 − tanh² c′)                                     ∂c = δ ⊙ f
    ∂i = δ ⊙ g ⊙ i(1 − i)    ∂f = δ ⊙ c ⊙ f(1 − f)    ∂g = δ ⊙ i ⊙ (1 − g²)    ∂o = ∂h′ ⊙ tanh c′ ⊙ o(1 − o)

with ∂i … ∂o (with respect to the pre-activations) written side by side into one array in the layout of these.

Under bf16 autocast everything here is bf16, the cell state included, as in PyTorch's own LSTM under autocast: the
array that crosses time loses at most 2⁻⁹ of its value per step, and a mixed-type pass would cost as much as two.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


def lstm_gates(
    preactivations: Float[Tensor, "b four_d *size"], c: Float[Tensor, "b d *size"]
) -> tuple[Float[Tensor, "b d *size"], Float[Tensor, "b d *size"]]:
    """(W[x; h] + b, c) → (h′, c′), in the type and layout of the pre-activations.

    Differentiable once: asking for a second derivative raises RuntimeError.
    """
    c = c.to(preactivations.dtype)
    # torch.compile fuses the plain formula and its gradient into one pass each, which calls of ours would prevent.
    formula = _formula if torch.compiler.is_compiling() else _LSTMGates.apply
    h, c = formula(preactivations, c)
    return h, c


def _formula(preactivations: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = preactivations.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


class _LSTMGates(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, preactivations: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = preactivations.chunk(4, dim=1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), _tanh(g), o.sigmoid()
        c_next = torch.addcmul(f * c, i, g)
        tanh_c = _tanh(c_next)
        ctx.save_for_backward(i, f, g, o, c, tanh_c)
        ctx.layout = preactivations.size(), preactivations.stride()
        return o * tanh_c, c_next

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh: Tensor, dc_next: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o, c, tanh_c = ctx.saved_tensors
        gradient = i.new_empty_strided(*ctx.layout)
        di, df, dg, do = gradient.chunk(4, dim=1)
        product = dh * tanh_c
        _sigmoid_backward(product, o, grad_input=do)
        delta = torch.mul(dh, o)
        _tanh_backward(delta, tanh_c, grad_input=delta)
        delta += dc_next
        _sigmoid_backward(torch.mul(delta, g, out=product), i, grad_input=di)
        _sigmoid_backward(torch.mul(delta, c, out=product), f, grad_input=df)
        _tanh_backward(torch.mul(delta, i, out=product), g, grad_input=dg)
        return gradient, delta.mul_(f)


def _tanh(x: Tensor) -> Tensor:
    """tanh(x), for bf16 on a CPU by way of float32: PyTorch's own bf16 kernel takes twice as long there."""
    if x.dtype == torch.bfloat16 and x.device.type == "cpu":
        return x.float().tanh_().to(x.dtype)
    return x.tanh()
