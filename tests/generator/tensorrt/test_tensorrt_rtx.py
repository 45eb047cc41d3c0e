"""The real parser and builder, without a GPU: TensorRT-RTX runs our worker on a CPU. Its plans are not for Triton.

What TensorRT itself does is not proven here: that needs a GPU (`make gpu-check`).
"""

import platform
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from modelrepo.generator.errors import ConversionError, VerificationError
from modelrepo.generator.progress import Listener, Progress
from modelrepo.generator.tensorrt import header
from modelrepo.generator.tensorrt.builder import PlanInputs, Toolchain, build_plan, run_plan
from modelrepo.generator.tensorrt.machine import gpu_present
from modelrepo.generator.tensorrt.profiles import Profile
from tests import onnx_files
from tests.plans import BATCH, program, spec

pytestmark = [
    pytest.mark.tensorrt_rtx,
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="TensorRT-RTX has a wheel for Linux x86_64"
    ),
]
RTX = Toolchain(environment={"POLYGRAPHY_USE_TENSORRT_RTX": "1"})
UNKNOWN = helper.make_node("Reflect", ["x"], ["y"], name="mirror", domain="our.own")


class Heard(Listener):
    def __init__(self) -> None:
        self.remarks: list[str] = []

    def noted(self, remark: str) -> None:
        self.remarks.append(remark)


def built(*profiles: Profile, progress: Progress | None = None, onnx_file: str = "model.onnx") -> Path:
    wanted, plan = spec(profiles=profiles or (BATCH,)), Path("model.plan")
    build_plan(wanted, Path(onnx_file), plan, Path("timing.cache"), progress or Progress(), toolchain=RTX)
    return plan


def with_unknown_operator() -> None:
    model = onnx_files.model(nodes=(UNKNOWN,))
    model.opset_import.append(helper.make_opsetid("our.own", 1))
    Path("model.onnx").write_bytes(model.SerializeToString())


def test_a_plan_is_built_and_the_builder_heard(workdir: Path) -> None:
    onnx_files.write("model.onnx")
    heard = Heard()
    assert built(progress=Progress(heard)).read_bytes()[:4] == b"vtrt"
    assert any(remark.startswith("Building engine") for remark in heard.remarks)
    assert Path("timing.cache").exists()


def test_its_plan_is_distinguished_from_one_that_triton_loads(workdir: Path) -> None:
    onnx_files.write("model.onnx")
    plan = built()
    with pytest.raises(ConversionError, match="is a plan of TensorRT-RTX"):
        header.read(plan)


def test_external_weights_are_found_beside_the_model(workdir: Path) -> None:
    Path("weights.bin").write_bytes(np.arange(4, dtype="float32").tobytes())
    Path("model.onnx").write_bytes(onnx_files.with_external_data("weights.bin").SerializeToString())
    assert built().exists()


def test_a_graph_in_fp16_becomes_a_smaller_plan_without_any_flag(workdir: Path) -> None:
    sizes = {}
    for name, type_ in (("float32", onnx.TensorProto.FLOAT), ("float16", onnx.TensorProto.FLOAT16)):
        weights = np.random.default_rng(0).standard_normal((4, 1 << 17)).astype(name)
        nodes = [
            helper.make_node("Cast", ["x"], ["typed"], to=type_),
            helper.make_node("MatMul", ["typed", "w"], ["product"]),
            helper.make_node("ReduceMax", ["product", "axes"], ["largest"], keepdims=1),
            helper.make_node("Cast", ["largest"], ["y"], to=onnx.TensorProto.FLOAT),
        ]
        axes = numpy_helper.from_array(np.array([1]), "axes")
        outputs = (("y", onnx.TensorProto.FLOAT, ["batch", 1]),)
        onnx_files.write("model.onnx", nodes=nodes, outputs=outputs,
                         initializers=(numpy_helper.from_array(weights, "w"), axes))  # fmt: skip
        sizes[name] = built().stat().st_size
    assert sizes["float16"] < 0.75 * sizes["float32"]


def test_a_model_of_fixed_shapes_needs_no_profile(workdir: Path) -> None:
    fixed = ("x", onnx_files.FLOAT, [2, 4]), ("y", onnx_files.FLOAT, [2, 4])
    onnx_files.write("model.onnx", inputs=fixed[:1], outputs=fixed[1:])
    build_plan(spec(profiles=()), Path("model.onnx"), Path("model.plan"), None, Progress(), toolchain=RTX)
    assert Path("model.plan").exists()


def test_several_profiles_go_into_one_plan(workdir: Path) -> None:
    onnx_files.write("model.onnx")
    assert built(BATCH, Profile({"x": ((1, 4), (1, 4), (1, 4))})).exists()


REFUSALS: dict[str, tuple[Callable[[], object], tuple[Profile, ...]]] = {
    "an operator that the parser refuses": (with_unknown_operator, ()),
    "an axis outside the model": (
        lambda: onnx_files.write("model.onnx"),
        (Profile({"x": ((1, 5), (2, 5), (4, 5))}),),
    ),
    "opt above max": (lambda: onnx_files.write("model.onnx"), (Profile({"x": ((1, 4), (8, 4), (4, 4))}),)),
    "an input that is none": (
        lambda: onnx_files.write("model.onnx"),
        (Profile({**BATCH.shapes, "z": ((1,), (1,), (1,))}),),
    ),
    "no ONNX file": (lambda: None, ()),
}


def test_what_the_builder_refuses_is_one_line_and_leaves_no_plan(
    workdir: Path, golden: Callable[[str, str], None]
) -> None:
    lines = []
    for name, (write, profiles) in REFUSALS.items():
        Path("model.onnx").unlink(missing_ok=True)
        Path("model.plan").write_text("of an earlier build")
        write()
        with pytest.raises(ConversionError) as raised:
            built(*profiles)
        assert not [*workdir.glob("model.plan*")]
        lines.append(f"{name}:\n  {raised.value}\n".replace(str(workdir), "."))
    golden("messages/tensorrt/tensorrt-rtx.txt", "".join(lines))


def test_an_interrupted_build_leaves_nothing(workdir: Path) -> None:
    class Impatient(Listener):
        def noted(self, remark: str) -> None:
            raise KeyboardInterrupt

    onnx_files.write("model.onnx")
    with pytest.raises(KeyboardInterrupt):
        built(progress=Progress(Impatient()))
    assert not [*workdir.glob("model.plan*")]
    assert built().exists()


def test_a_builder_that_runs_out_of_memory_is_one_line(workdir: Path) -> None:
    weights = numpy_helper.from_array(np.ones((4, 1 << 24), "float32"), "w")
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    onnx_files.write("model.onnx", nodes=(product,), outputs=(("y", onnx_files.FLOAT, ["batch", 1 << 24]),),
                     initializers=(weights,))  # fmt: skip
    program(Path("python"), f'#!/bin/sh\nulimit -v 500000\nexec {sys.executable} "$@"\n')
    small = Toolchain(str(Path("python").absolute()), RTX.environment)
    with pytest.raises(ConversionError, match="TensorRT could not build the plan: out of memory"):
        build_plan(spec(), Path("model.onnx"), Path("model.plan"), None, Progress(), toolchain=small)
    assert not [*workdir.glob("model.plan*")]


ASKED = PlanInputs(0, {"x": np.array([[-1, 0, 1, 2]], "float32")})


@pytest.mark.skipif(gpu_present(), reason="there is a GPU")
def test_a_plan_that_can_not_run_here_is_one_line(workdir: Path) -> None:
    onnx_files.write("model.onnx")
    with pytest.raises(VerificationError, match=r"TensorRT could not run the plan: .*CUDA driver") as raised:
        run_plan(built(), [ASKED], toolchain=RTX)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(not gpu_present(), reason="there is no GPU")
def test_a_plan_answers_as_its_model_does(workdir: Path) -> None:
    onnx_files.write("model.onnx")
    (answers,) = run_plan(built(), [ASKED], toolchain=RTX)
    np.testing.assert_array_equal(answers["y"], [[0, 0, 1, 2]])
