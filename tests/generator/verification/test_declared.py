"""Answers are compared with the shapes that Triton tells its clients."""

from typing import Any

import numpy as np
import pytest

from modelrepo.generator.errors import VerificationError
from modelrepo.generator.specs.tensors import Arrays, Dim, Signature, TensorSpec
from modelrepo.generator.verification.declared import as_declared


@pytest.mark.parametrize("declared", [("batch", 4), (2, 4), ("any", "size"), ()])
def test_an_answer_of_the_declared_shape_passes(declared: tuple[Dim, ...]) -> None:
    run = as_declared(lambda arrays: {"y": np.zeros((2, 4))}, Signature((), (TensorSpec("y", "float32", declared),)))
    assert run({})["y"].shape == (2, 4)


@pytest.mark.parametrize("declared", [("batch", 5), ("batch",), ("batch", 4, 1), (1, 4)])
def test_an_answer_of_another_shape_is_refused(declared: tuple[Dim, ...]) -> None:
    run = as_declared(lambda arrays: {"y": np.zeros((2, 4))}, Signature((), (TensorSpec("y", "float32", declared),)))
    with pytest.raises(VerificationError, match=r"answers with the shape \[2, 4\], but the exported model declares"):
        run({})


def test_a_session_that_tells_another_shape_than_is_declared_is_refused() -> None:
    def run(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.zeros((2, 3))}

    run.told = {"y": ("batch", 4)}  # type: ignore[attr-defined]
    with pytest.raises(VerificationError, match=r"infers the shape \[batch, 4\] of output 'y'"):
        as_declared(run, Signature((), (TensorSpec("y", "float32", ("batch", 3)),)))
