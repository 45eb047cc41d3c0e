"""What a dry run finds without loading a model: data, names of classes and weights that can't be used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import onnx_files
from tests.conftest import Generate, assert_refused, snapshot

DRY = ("--model", "onnx:net.onnx", "--dry-run")


def objects() -> None:
    np.savez("s.npz", x=np.array([None, "a"], object))


REFUSED: dict[str, tuple[Callable[[], Any], tuple[str, ...], int, str]] = {
    "samples": (
        lambda: Path("s.npz").write_text("garbage"),
        (*DRY, "--samples", "s.npz"),
        2,
        "can't read samples from s.npz",
    ),
    "objects": (objects, (*DRY, "--samples", "s.npz"), 2, "an array in it holds Python objects"),
    "nothing": (lambda: Path("s").mkdir(), (*DRY, "--samples", "s"), 2, "s holds nothing that can be read as samples"),
    "shape": (
        lambda: np.save("s.npy", np.zeros((5, 3), "float32")),
        (*DRY, "--samples", "s.npy"),
        2,
        "s.npy: x is float32[5, 3], but the model takes x[batch, 4]",
    ),
    "calibration": (
        lambda: Path("s.npz").write_text("garbage"),
        (*DRY, "--calibration", "s.npz", "--precision", "int8"),
        2,
        "can't read samples from s.npz",
    ),
    "labels": (lambda: Path("l").write_text("a\n\nb"), (*DRY, "--labels", "l"), 2, "line 2 of l is blank"),
    "weights": (
        lambda: Path("w.pth").write_text("garbage"),
        ("--model", "resnet18", "--weights", "w.pth", "--dry-run"),
        3,
        "w.pth is not a file of PyTorch weights or a safetensors file. It is a text file",
    ),
    "empty weights": (
        lambda: Path("w.pth").touch(),
        ("--model", "resnet18", "--weights", "w.pth", "--dry-run"),
        3,
        "w.pth is empty",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_dry_run_refuses_files_that_no_run_could_use(generate: Generate, workdir: Path, case: str) -> None:
    make, arguments, code, message = REFUSED[case]
    onnx_files.write("net.onnx")
    make()
    before = snapshot(workdir)
    assert_refused(generate(*arguments, "-q"), code, message)
    assert snapshot(workdir) == before


@pytest.mark.parametrize("shape", [(5, 4), (4,)])
def test_samples_that_fit_pass_a_dry_run(generate: Generate, shape: tuple[int, ...]) -> None:
    onnx_files.write("net.onnx")
    np.savez("s.npz", rows=np.zeros(shape, "float32"), y=np.zeros(shape[:-1], int))
    assert generate(*DRY, "--samples", "s.npz", "-q").code == 0


@pytest.mark.parametrize("declared", [[4], [1, 4], ["n", 4]])
def test_samples_for_a_model_without_batches_pass_a_dry_run(generate: Generate, declared: list[int | str]) -> None:
    onnx_files.write(
        "net.onnx", inputs=(("x", onnx_files.FLOAT, declared),), outputs=(("y", onnx_files.FLOAT, declared),)
    )
    np.savez("s.npz", x=np.zeros((5, 4), "float32"))
    assert generate(*DRY, "--samples", "s.npz", "-q").code == 0


def test_unreadable_samples_are_refused_before_the_model_is_loaded(generate: Generate) -> None:
    Path("net.onnx").write_text("not a model")
    Path("s.npz").write_text("garbage")
    assert_refused(generate("--model", "sklearn:net.onnx", "--samples", "s.npz", "-q"), 3, "net.onnx")
    onnx_files.write("net.onnx")
    outcome = generate("--model", "onnx:net.onnx", "--samples", "s.npz")
    assert (outcome.code, "loading" in outcome.err) == (2, False)
