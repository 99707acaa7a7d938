"""The hand-written gradient of the gates is that of the plain formula, in every type and layout.

(The plain formula itself is held against nn.LSTMCell in test_models.py.)
"""

import pytest
import torch
from torch import Tensor

from framecast.models.layers.gates import _formula, lstm_gates
from framecast.models.seq2seq_convlstm import Seq2SeqConvLSTM


def arrays(size: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    drawn = (torch.randn(3, channels, *size, generator=generator, dtype=torch.float64) for channels in (8, 2))
    preactivations, c = (x.to(dtype).contiguous(memory_format=layout).requires_grad_() for x in drawn)
    return preactivations, c


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradient_agrees_with_finite_differences(layout: torch.memory_format) -> None:
    assert torch.autograd.gradcheck(lstm_gates, arrays((2, 3), torch.float64, layout))


def test_gradient_of_vectors_agrees_with_finite_differences() -> None:
    assert torch.autograd.gradcheck(lstm_gates, arrays((), torch.float64, torch.contiguous_format))


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("used", ["h", "c", "h and c"])
def test_values_and_gradients_are_the_plain_formulas(
    dtype: torch.dtype, atol: float, layout: torch.memory_format, used: str
) -> None:
    """Compared in float64, so that bf16 is charged for its own rounding alone."""

    def outcome(gates: object, kind: torch.dtype) -> list[Tensor]:
        inputs = [x.detach().to(kind).requires_grad_() for x in arrays((2, 3), dtype, layout)]
        h, c = gates(*inputs)  # type: ignore[operator]
        loss = sum(x.square().sum() for x, name in ((h, "h"), (c, "c")) if name in used.split())
        loss.backward()
        return [h, c, *(x.grad for x in inputs)]

    for ours, expected in zip(outcome(lstm_gates, dtype), outcome(_formula, torch.float64), strict=True):
        assert ours.dtype == dtype
        assert ours.is_contiguous(memory_format=layout)
        torch.testing.assert_close(ours.double(), expected, rtol=3 * atol, atol=3 * atol)


def test_a_second_derivative_is_refused() -> None:
    preactivations, c = arrays((), torch.float64, torch.contiguous_format)
    h, _ = lstm_gates(preactivations, c)
    (gradient,) = torch.autograd.grad(h.square().sum(), preactivations, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_autocast_keeps_the_states_in_bf16_and_the_forecast_close() -> None:
    """The cell state is rounded to bf16 at each of the 20 steps; the forecast must not drift by a grey level in 50."""
    torch.manual_seed(0)
    model = Seq2SeqConvLSTM((1, 8, 8), depth=2, hidden_channels=16)
    context = torch.rand(2, 10, 1, 8, 8)
    exact = model(context, 10)
    with torch.autocast("cpu", torch.bfloat16):
        h, c = model.encoder[0](context[:, 0], (torch.zeros(2, 16, 8, 8),) * 2)
        forecast = model(context, 10)
    assert h.dtype == c.dtype == torch.bfloat16
    torch.testing.assert_close(forecast.float(), exact, rtol=0, atol=0.02)
