"""A repository for a machine without a GPU: the same model files, and configurations that need no GPU."""

from pathlib import Path
from typing import Any

from modelrepo.generator.errors import OptionError, RepositoryError
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.triton import pbtxt


def without_gpu(config: Any) -> tuple[str, ...]:
    """Remove from a ModelConfig, in place, the settings that need a GPU; return the changes in words."""
    from tritonclient.grpc import model_config_pb2

    changes = []
    group_kind = model_config_pb2.ModelInstanceGroup
    for group in config.instance_group:
        if group.kind == group_kind.KIND_GPU or group.gpus:
            changes.append(f"instance group {group_kind.Kind.Name(group.kind)} is served as KIND_CPU")
            group.kind = group_kind.KIND_CPU
            del group.gpus[:]
    accelerators = config.optimization.execution_accelerators
    for kind in ("gpu_execution_accelerator", "cpu_execution_accelerator"):
        for accelerator in getattr(accelerators, kind):
            changes.append(f"accelerator {accelerator.name} is left out")
    if changes and config.optimization.HasField("execution_accelerators"):
        config.optimization.ClearField("execution_accelerators")
    return tuple(dict.fromkeys(changes))


def lay(repository: Path, folder: Path) -> tuple[str, ...]:
    """Make ``folder`` a repository of links to another one's files with overlaid configurations; return the changes."""
    notes: list[str] = []
    for model in sorted(path for path in repository.iterdir() if path.is_dir()):
        (folder / model.name).mkdir(parents=True)
        for entry in model.iterdir():
            if entry.name != CONFIG:
                (folder / model.name / entry.name).symlink_to(entry)
        if (model / CONFIG).exists():
            text, changes = overlaid((model / CONFIG).read_text("utf-8", errors="surrogateescape"), str(model / CONFIG))
            (folder / model.name / CONFIG).write_text(text, "utf-8", errors="surrogateescape")
            notes += [f"{model.name}: {change}" for change in changes]
    if not folder.exists():
        raise RepositoryError(f"{repository} holds no models")
    return tuple(notes)


def overlaid(text: str, origin: str) -> tuple[str, tuple[str, ...]]:
    """Return a configuration's text without the settings that need a GPU, and the changes; the same text if none does.

    A text that can't be parsed is returned as it is: Triton reports the error in it.
    """
    try:
        config = pbtxt.parse(text, origin)
    except OptionError:
        return text, ()
    changes = without_gpu(config)
    return (pbtxt.to_text(config) if changes else text), changes
