"""Dropout by bytes: the share that is dropped, the mean that is kept, the gradient, and silence in use."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from train.classifiers.dropout import draw_bytes


def dropout(share: float) -> torch.nn.Module:
    model = torch.nn.Sequential(torch.nn.Dropout(share))
    draw_bytes(model)
    return model.train()


@given(share=st.floats(0, 0.9), rows=st.integers(1, 9), columns=st.integers(1, 33), seed=st.integers(0, 99))
def test_values_are_scaled_or_gone_and_so_are_their_gradients(share: float, rows: int, columns: int, seed: int) -> None:
    torch.manual_seed(seed)
    values = torch.rand(rows, columns) + 1
    values.requires_grad_()
    given = values.detach().clone()
    answer = dropout(share)(values)
    answer.sum().backward()
    scale = 256 / (256 - round(256 * share))
    kept = answer.detach() != 0
    torch.testing.assert_close(answer.detach(), torch.where(kept, given * scale, 0.0))
    torch.testing.assert_close(values.grad, kept * scale)
    torch.testing.assert_close(values.detach(), given)


def test_the_share_is_that_asked_for_everywhere_alike() -> None:
    torch.manual_seed(3)
    gone = (dropout(0.1)(torch.ones(100_000, 16)) == 0).float()
    torch.testing.assert_close(gone.mean(0), torch.full((16,), 26 / 256), atol=0.005, rtol=0)
    neighbours = torch.corrcoef(gone.T) - torch.eye(16)
    assert neighbours.abs().max() < 0.02


def test_one_seed_gives_one_answer_and_a_model_in_use_is_left_alone() -> None:
    ones = torch.ones(8, 100)
    module = dropout(0.5)
    answers = []
    for _ in range(2):
        torch.manual_seed(1)
        answers.append(module(ones))
    torch.testing.assert_close(*answers)
    assert (module(ones) != answers[0]).any()
    assert module.eval()(ones) is ones
    assert dropout(0.0)(ones) is ones
