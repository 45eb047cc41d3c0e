"""The whole networks that the onnx package carries, their weights replaced by constants, with expected answers."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from modelrepo.generator.specs.tensors import Array, Arrays
from tests import conformance


@dataclass(frozen=True)
class LightModel:
    """A network of IR 3 whose initializers are all listed as inputs, and whose batch is fixed at 1.

    ``path`` is its file. What onnx's own runner asks it, and what it must answer, is read when it is asked for.
    """

    name: str
    path: Path

    @property
    def reference(self) -> str:
        """What `generate --model` takes."""
        return f"onnx:{self.path}"

    @property
    def inputs(self) -> Arrays:
        """One float32 [1, 3, 224, 224], by the input's name: rising values from 0 to 1."""
        case = _case(self.path)
        ((values, _),) = case.data_sets
        return case.inputs(values)

    @property
    def expected(self) -> Arrays:
        """The answer that lies beside the file, float32 [1, 1000] or [1, 1000, 1, 1], by the output's name."""
        case = _case(self.path)
        ((_, answers),) = case.data_sets
        return dict(zip(case.outputs, answers, strict=True))

    def check(self, answers: Arrays) -> None:
        """Raise AssertionError, which says where, unless answers are the expected ones within the package's limits."""
        case = _case(self.path)
        for name, wanted in self.expected.items():
            got: Array = answers[name]
            np.testing.assert_allclose(got, wanted, rtol=case.rtol, atol=case.atol, err_msg=f"{self.name}, {name}")


@cache
def _case(path: Path) -> conformance.Case:
    return conformance.light_case(path)


MODELS = {path.stem: LightModel(path.stem, path) for path in sorted(conformance.DATA.glob("light/*.onnx"))}
