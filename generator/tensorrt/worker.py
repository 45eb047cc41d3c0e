"""Builds or runs one plan in its own process, since TensorRT may crash or use up the memory.

Run as ``python -P worker.py JOB.json``; needs only TensorRT and polygraphy. With POLYGRAPHY_USE_TENSORRT_RTX=1 the same
code builds with TensorRT-RTX, which needs no GPU; tests use that. Events go to stdout, one JSON object a line. The
output of TensorRT and polygraphy goes to stderr, with errors in lines that start with [E].
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


def main(job: dict[str, Any], events: TextIO) -> int:
    """Do the job; the last event is ``done`` or ``failed``, and the exit code 0 or 1."""

    def tell(**event: Any) -> None:
        print(json.dumps(event), file=events, flush=True)

    try:
        if job["task"] == "build":
            build(job, tell)
            tell(done={})
        else:
            tell(done=run(job))
    except Refused as refused:
        tell(failed="refused", nodes=refused.nodes)
        return 1
    except BadProfile as bad:
        tell(failed="profile", profile=bad.profile)
        return 1
    except Exception as error:  # the parent process reports it
        tell(failed=type(error).__name__, message=str(error))
        return 1
    return 0


class Refused(Exception):
    """TensorRT's parser refuses the model; ``nodes`` says which nodes, and why."""

    def __init__(self, nodes: list[dict[str, Any]]) -> None:
        super().__init__(nodes)
        self.nodes = nodes


class BadProfile(Exception):
    """TensorRT refuses a profile, without a reason."""

    def __init__(self, profile: int) -> None:
        super().__init__(profile)
        self.profile = profile


def build(job: dict[str, Any], tell: Any) -> None:
    """Build the plan of ``job["onnx"]`` into ``job["plan"]``, which appears when it is complete."""
    from polygraphy.backend.trt import EngineBytesFromNetwork, NetworkFromOnnxPath
    from polygraphy.exception import PolygraphyException

    trt = tensorrt()
    try:
        builder, network, parser = NetworkFromOnnxPath(job["onnx"], strongly_typed=True)()
    except PolygraphyException as error:
        raise Refused(list(refusals(trt, job["onnx"]))) from error
    cache = job["timing_cache"]
    config = create_config(trt, job, monitor(trt, tell))(builder, network)
    if config.num_optimization_profiles < len(job["profiles"]):
        raise BadProfile(config.num_optimization_profiles)
    engine = EngineBytesFromNetwork((builder, network, parser), config, save_timing_cache=cache)()
    plan = Path(job["plan"])
    unfinished = plan.with_name(f"{plan.name}.tmp")
    with unfinished.open("wb") as file:
        file.write(engine)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(plan)


def tensorrt() -> Any:
    """Import the TensorRT that polygraphy uses."""
    from polygraphy.config import USE_TENSORRT_RTX

    if USE_TENSORRT_RTX:
        import tensorrt_rtx

        return tensorrt_rtx
    import tensorrt as trt

    return trt


def create_config(trt: Any, job: dict[str, Any], progress_monitor: Any) -> Any:
    """Return polygraphy's builder configuration. The graph decides the precision; no flag does."""
    from polygraphy.backend.tensorrt_rtx import CreateConfigRTX
    from polygraphy.backend.trt import CreateConfig, Profile
    from polygraphy.config import USE_TENSORRT_RTX

    profiles = []
    for shapes in job["profiles"]:
        profile = Profile()
        for name, bounds in shapes.items():
            profile.add(name, *map(tuple, bounds))
        profiles.append(profile)
    common = {
        "profiles": profiles,  # without profiles, polygraphy would invent one
        "memory_pool_limits": {trt.MemoryPoolType.WORKSPACE: job["workspace_mib"] << 20},
        "load_timing_cache": job["timing_cache"],
        "builder_optimization_level": job["optimization_level"],
        "profiling_verbosity": trt.ProfilingVerbosity.LAYER_NAMES_ONLY,
        "version_compatible": job["version_compatible"],
        "progress_monitor": progress_monitor,
    }
    return (
        CreateConfigRTX(**common)
        if USE_TENSORRT_RTX
        else CreateConfig(tf32=True, sparse_weights=job["sparse"], **common)
    )


def monitor(trt: Any, tell: Any) -> Any:
    """Return a progress monitor that reports the builder's phase and step."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Remembers the number of steps of every running phase."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            tell(phase=phase_name, step=0, steps=num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            tell(phase=phase_name, step=step + 1, steps=self.steps.get(phase_name, 0))
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()


def refusals(trt: Any, path: str) -> Iterator[dict[str, Any]]:
    """Parse the model again, and yield the parser's error for every node that it refuses."""
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parser.parse_from_file(path)
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        yield {
            "node": error.node(),
            "name": error.node_name(),
            "operator": error.node_operator(),
            "reason": error.desc(),
        }


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run the plan on every case: inputs from one .npz file, outputs to another. Needs a GPU."""
    import numpy as np
    from polygraphy.backend.common import BytesFromPath
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner

    engine = EngineFromBytes(BytesFromPath(job["plan"]))()
    names = []
    for case in job["cases"]:
        with np.load(case["inputs"]) as arrays:
            inputs = dict(zip(case["names"], arrays.values(), strict=True))
        with TrtRunner(engine, optimization_profile=case["profile"]) as runner:
            outputs = runner.infer(inputs, copy_outputs_to_host=True)
            np.savez(case["outputs"], *outputs.values())
        names.append(list(outputs))
    return {"names": names}


if __name__ == "__main__":
    own_events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the output of libraries is not an event
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text("utf-8")), own_events))
