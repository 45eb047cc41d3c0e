"""torchvision's models: `--model resnet50`, with its own weights, random ones or those of a file.

``tasks`` is the table of their tasks, ``published`` loads their own weights, and ``detectors`` handles detectors with
random weights.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from modelrepo.generator.errors import SourceError
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import pytorch, told
from modelrepo.generator.sources.pytorch import pictures, pretrained
from modelrepo.generator.sources.pytorch.assumptions import assuming
from modelrepo.generator.sources.pytorch.steady import steady
from modelrepo.generator.sources.source import Source
from modelrepo.generator.sources.torchvision import detectors, published
from modelrepo.generator.sources.torchvision.tasks import Task, task_of
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.preparation import Meaning
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Dim, TensorSpec
from modelrepo.generator.system.extras import TORCH, need, require
from modelrepo.generator.system.quiet import quiet

BATCH = "batch"
FLOAT_BYTES = 4


def known() -> tuple[str, ...]:
    """Return the names that torchvision lists."""
    require(TORCH)
    return tuple(sorted(told.networks()))


def check(name: str, options: Options) -> None:
    """Raise SourceError unless torchvision lists ``name``."""
    if name not in told.networks():
        raise told.unknown(name, told.TORCHVISION, told.networks())
    require(TORCH)


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Return the model in evaluation mode, its inputs float32 and named by its task.

    Images are (batch, 3, height, width), a detector's (3, height, width), clips (batch, 3, frames, height, width), each
    normalised as ``preprocess`` says. A classifier answers (batch, classes) before softmax, a segmenter (batch,
    classes, height, width), a detector one row for each box, RAFT (batch, 2, height, width) in pixels. Raises
    SourceError for an unknown name or unusable weights, OptionError for a shape that does not fit.
    """
    check(name, options)
    models = need("torchvision.models", TORCH)
    task = task_of(name, models)
    if task is None:
        raise SourceError(f"torchvision model {name!r} is for an unknown task", "Update modelrepo")
    own = published.weights_of(name, models)
    transforms = own.transforms()
    asked = pictures.asked_shape(options.input_shape, task.inputs, task.axes, task.kind)
    module, weights = pretrained.load(
        _architecture(name, task, own, asked, models),
        lambda progress: published.load(name, task.arguments(name), own, models, progress),
        options,
        progress,
    )
    shape = asked or task.shape(transforms, module)
    inputs = pictures.opened(_inputs(task, shape), options.dynamic)
    source = pytorch.source_model(
        f"torchvision:{name}",
        _answering(module, task.answers) if task.answers else module,
        inputs,
        weights,
        call=task.call,
        output_names=(pytorch.OUTPUT,) if task.labelled else (),
        labels=tuple(own.meta["categories"]) if task.labelled else (),
        preprocess=task.preprocess(transforms, shape),
        notes=task.notes,
    )
    (input_name, *_), (spec, *_) = task.inputs, inputs
    names = tuple(own.meta.get("categories", ()))
    source = replace(
        source,
        preparation=task.preparation(transforms, spec.shape[-len(task.axes) :], input_name),
        meaning=Meaning(task.meaning, task.meant or source.output_names, names, f"it is {task.kind}"),
    )
    source = assuming(source, options.assume_branch)
    if task.untrained and weights.kind == pretrained.RANDOM:
        with quiet():
            detectors.vary(module, task.call(pytorch.examples(inputs)))
        source = replace(source, notes=(*source.notes, detectors.VARIED))
    return steady(replace(source, exporter="torchscript")) if task.decides else source


def _architecture(name: str, task: Task, own: Any, asked: tuple[int, ...], models: Any) -> pretrained.Architecture:
    classes = len(own.meta.get("categories", ()))
    sized = next((each for prefix, each in task.sized.items() if name.startswith(prefix)), None)
    arguments = dict(task.arguments(name))
    if sized:
        arguments |= sized(asked or task.shape(own.transforms(), None))

    def build(classes: int, **more: Any) -> Any:
        counted = {"num_classes": classes} if classes else {}
        return models.get_model(name, weights=None, **{**arguments, **counted, **more})

    return pretrained.Architecture(
        name,
        build,
        classes,
        own.meta["num_params"] * FLOAT_BYTES,
        untrained=lambda: build(classes, **(task.untrained(name) if task.untrained else {})),
        saved=lambda state, classes: build(classes, **task.saved(arguments, state)),
    )


def _inputs(task: Task, shape: tuple[int, ...]) -> tuple[TensorSpec, ...]:
    whole: tuple[Dim, ...] = (BATCH, *shape) if task.batched else shape
    return tuple(TensorSpec(each, "float32", whole, task.domain) for each in task.inputs)


def _answering(module: Any, answers: Callable[[Any], Any]) -> Any:
    """Return a module that returns ``answers`` of the outputs of another."""
    import torch

    class Answering(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *tensors: Any) -> Any:
            return answers(self.module(*tensors))

    return Answering().eval()


SOURCE = Source(
    form="torchvision:NAME, or NAME",
    summary="torchvision's models: classification, segmentation, detection, video and optical flow",
    frameworks=("torch",),
    load=load,
    check=check,
    known=known,
    options=("weights", "input_shape", "dynamic", "opset", "exporter", "assume_branch", "trust_source"),
    packages=("torchvision",),
    extras=(TORCH,),
)
