"""Plans as `generate` leaves them for another host, made in milliseconds: a linear model, its reference, its entry."""

import shlex
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.graphs import onnx_file
from modelrepo.generator.plans.pending import PendingPlan
from modelrepo.generator.plans.reference import write_reference
from modelrepo.generator.plans.store import PlanStore
from modelrepo.generator.repository.manifest import Provenance, SourceRecord
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.findings import Verification
from modelrepo.generator.specs.options import Tolerance
from modelrepo.generator.specs.tensors import Signature
from modelrepo.generator.system.digests import record_files, sha256_of
from modelrepo.generator.tensorrt.plan_spec import PlanSpec, container_command, trtexec_arguments
from modelrepo.generator.tensorrt.profiles import Profile
from modelrepo.generator.tensorrt.proof import plan_precision
from modelrepo.generator.triton.releases import RELEASES

RELEASE = RELEASES["26.08"]  # its TensorRT is known
CONFIG = """# Generated for a test
name: "{name}"
backend: "tensorrt"
max_batch_size: 4

input {{
  name: "input"
  data_type: TYPE_FP32
  dims: [ 4 ]
}}

output {{
  name: "output"
  data_type: TYPE_FP32
  dims: [ 3 ]
  label_filename: "labels.txt"
}}

version_policy {{
  specific {{ versions: [ {version} ] }}
}}
"""
# One size, so that a plan is asked little: each question is a process of the stand-in's.
ONE_SIZE = (Profile({"input": ((4, 4), (4, 4), (4, 4))}),)
SEVERAL_SIZES = (Profile({"input": ((1, 4), (2, 4), (4, 4))}),)
SPEC = PlanSpec(
    release=RELEASE.container,
    image=RELEASE.image,
    tensorrt="11.2.1",
    precision="fp32",
    profiles=ONE_SIZE,
    version_compatible=False,
    workspace_mib=4096,
    optimization_level=3,
    sparse=False,
    onnx={},
    tools={"onnx": "1.23"},
)


def write_model(path: Path, seed: int) -> Signature:
    """Write input[batch, 4] x W = output[batch, 3], and return its signature."""
    weights = np.random.default_rng(seed).standard_normal((4, 3)).astype("float32")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "W"], ["output"])],
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "W")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return onnx_file.read_signature(graph)


def prepare(
    root: Path,
    name: str = "linear",
    *,
    seed: int = 0,
    spec: PlanSpec = SPEC,
    key: str = "key",
    tolerance: Tolerance | None = None,
) -> PendingPlan:
    """Leave a plan to be built beside the repository ``root``, and return its entry."""
    repository = Repository(root)
    version = repository.next_version(name)
    with repository.staging() as staging:
        folder = staging / name
        folder.mkdir()
        signature = write_model(folder / "model.onnx", seed)
        (folder / "config.pbtxt").write_text(CONFIG.format(name=name, version=version), "utf-8")
        (folder / "labels.txt").write_text("cat\ndog\nfish\n", "utf-8")
        allowed = tolerance or plan_precision(spec.precision).tolerance
        write_reference(folder, folder / "model.onnx", signature, spec.profiles, allowed)
        spec = replace(spec, onnx={"model.onnx": sha256_of(folder / "model.onnx")})
        options = {"tolerance": asdict(tolerance) if tolerance else None}
        entry = PendingPlan(
            reason="no CUDA device on this machine",
            command=shlex.join(container_command(spec, PlanStore(repository).folder(name))),
            inputs={**spec.to_json(), "trtexec": trtexec_arguments(spec)},
            max_batch_size=4,
            provenance=Provenance(key, _source(), options, {}, Verification(passed=True, max_rel_diff=1e-6, cases=40)),
            files=record_files(folder),
            version=version,
        )
        with repository.locked():
            PlanStore(repository).defer(name, folder, entry)
    return entry


def _source() -> SourceRecord:
    weights = Weights("random", "seed 0", untrained=False)
    return SourceRecord("numpy:linear", weights, None, "numpy", 20, 10, ())
