"""The machine that serves: its memory and its cores. Nothing is said of what is not known of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelrepo.generator.lint.files import onnx_file
from modelrepo.generator.lint.finding import Place, Problem
from modelrepo.generator.lint.regular import is_file
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.served import FILES, kinds, loaded, parameter, place_of, present, served
from modelrepo.generator.lint.subject import Case
from modelrepo.generator.triton.parameters import whole

# The parameter with the threads of an instance, and the count of instances on a CPU if none is written.
THREADS = {"onnxruntime": "intra_op_thread_count", "openvino": "INFERENCE_NUM_THREADS"}
DEFAULT_COUNT = {"onnxruntime": 2}


def threads(case: Case) -> Iterator[Problem]:
    """Find instances whose threads together are more than the host has cores."""
    cores = case.host.cores
    for backend, name in THREADS.items() if cores else ():
        found = served(case, backend)
        text = parameter(found.config, name) if found else None
        each = whole(text) if text is not None else None
        if not found or not each or each < 1 or not cores:
            continue
        counts = _on_cpu(found.config, case.host.gpus, backend)
        instances = sum(counts)
        if instances * each > cores:
            said = f"{instances} instances of {each} threads take turns on {cores} cores, which is slower than {cores} "
            said += "threads"
            yield Problem(place_of(case, "instance_group", 0, "count"), said, CORES.write)


def _on_cpu(config: Any, gpus: int | None, backend: str) -> list[int]:
    """Return the counts of the instances on a CPU."""
    on_cpu = ("KIND_CPU", "default") if gpus == 0 else ("KIND_CPU",)
    return [count or DEFAULT_COUNT.get(backend, 1) for _, kind, count in kinds(config, gpus) if kind in on_cpu]


def memory(case: Case) -> Iterator[Problem]:
    """Find models whose files are larger than the host's memory, alone or with the rest of the repository."""
    most = case.host.memory
    if not most:
        return
    own = _bytes(case)
    if own > most:
        said = f"the model's files have {own:,} bytes, and the host has {most:,} bytes of memory"
        place = Place(case.model.folder)
        yield Problem(place, f"Triton ends, or is ended, while it loads the model: {said}", MEMORY.write)
    models = case.repository.models
    if case.model.name == min(models, default="") and len(models) > 1:  # once for all of them
        together = sum(_bytes(Case(model, case.repository, case.host)) for model in models.values())
        if together > most:
            said = f"the files of all models have {together:,} bytes, and the host has {most:,} bytes of memory"
            place = Place(case.repository.root)
            yield Problem(place, f"Triton ends, or is ended, while it loads all models: {said}", MEMORY.write)


def _bytes(case: Case) -> int:
    """Return the bytes of a model's files that are loaded into the host's memory."""
    config = case.model.config
    if config is not None and config.message is None:
        return 0
    found = loaded(case)
    on_gpu = found is not None and any(kind == "KIND_GPU" for _, kind, _ in kinds(found.config, None))
    if found is None or found.backend not in FILES or found.backend == "tensorrt" or on_gpu:
        return 0
    return sum(size for path in present(case, found.backend) for size in _of(case, found.backend, path))


def _of(case: Case, backend: str, path: Path) -> Iterator[int]:
    yield path.stat().st_size
    beside: set[Path] = set()
    if backend == "onnxruntime":
        file = case.model.read(onnx_file.read, path)
        beside = {path.parent / each.location for each in (file.external if file else ())}
    elif backend == "openvino":
        beside = {path.with_suffix(".bin")}
    yield from (each.stat().st_size for each in beside if is_file(each))


CORES = Rule(
    code="CPU-THREADS",
    severity="information",
    title="the threads of all instances are more than the cores",
    triton="Triton loads the model. Threads that take turns on a core make every answer slower.",
    write="Write a count of instances that times the threads of each is at most the cores",
    check=threads,
    decided_by="advice",
    source="core/src/model_config_utils.cc, SetDefaultInstanceCount",
)
MEMORY = Rule(
    code="MEMORY",
    severity="warning",
    title="the models' files are larger than the host's memory",
    triton="Triton, or the kernel, ends the server while it loads them. What runs on a GPU is not counted.",
    write="Serve fewer models at a time (--load), a lower precision, or use a larger host",
    check=memory,
    decided_by="advice",
    source="Linux: mm/oom_kill.c",
    needs_config=False,
)
RULES = (CORES, MEMORY)
