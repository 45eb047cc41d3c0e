"""The suites in one table, and the cases of the sample: the names in sample.txt."""

import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from tests.foreign import pytorch, sklearn_onnx, tensorflow_onnx, triton
from tests.foreign.case import Suite

SUITES: dict[str, Suite] = {
    "tensorflow-onnx": tensorflow_onnx.SUITE,
    "sklearn-onnx": sklearn_onnx.SKLEARN,
    "onnxmltools": sklearn_onnx.BOOSTERS,
    "pytorch": pytorch.SUITE,
    "triton": triton.SUITE,
}
SAMPLE = Path(__file__).parent / "sample.txt"
EVERYWHERE = ("onnx", "onnxruntime", "numpy")


def sample() -> list[tuple[str, str]]:
    """Return the suite and the name of every case, in the order of the file."""
    lines = SAMPLE.read_text("utf-8").splitlines()
    return [(suite, name) for suite, _, name in (line.partition("/") for line in lines if line)]


@cache
def commit(checkout: str) -> str:
    """Return the commit of a checkout: git's, or what its file .commit says; empty if neither knows it."""
    noted = Path(checkout) / ".commit"
    if noted.is_file():
        return noted.read_text("utf-8").strip()
    asked = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def tools(suite: str) -> str:
    """Return what the cases of a suite are measured with."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in (*SUITES[suite].packages, *EVERYWHERE))
