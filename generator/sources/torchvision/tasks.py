"""The tasks of torchvision's models: a table of them, with how the models of each are built and run."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from modelrepo.generator.sources.pytorch import Call, pictures, positional, preparing
from modelrepo.generator.specs.preparation import MeaningKind, Preparation, Resize
from modelrepo.generator.specs.tensors import Dim, Domain

IMAGE = ("channels", "height", "width")
CLIP = ("channels", "frames", "height", "width")
# torchvision's video models were trained with clips of 16 frames, or with longer ones cut into such.
FRAMES = 16
# Height and width of the first crops for RAFT's training in torchvision's references, those of FlyingChairs.
FLOW = (368, 496)
# Detectors with random weights return this many boxes at most: of many, some would be too close to compare.
FEW_BOXES = 4

ANY = Domain()

Preprocess = dict[str, Any] | None


@dataclass(frozen=True)
class Task:
    """A task of torchvision's models: how those are built and run."""

    # The name of one such model in messages.
    kind: str
    # The module of torchvision that lists the models; empty for torchvision.models itself.
    module: str
    # Returns the shape of a sample, from the transforms published with a network and the network.
    shape: Callable[[Any, Any], tuple[int, ...]]
    # Returns how a client prepares a sample of a shape.
    preprocess: Callable[[Any, Sequence[int]], Preprocess] = lambda transforms, shape: None
    # Returns torchvision's own transform for a sample of a shape, as the preparation of the input of a name.
    preparation: Callable[[Any, Sequence[Dim], str], Preparation | None] = lambda transforms, shape, name: None
    # The names of the inputs, each a sample with the dimensions ``axes``, after a batch if they are ``batched``.
    inputs: tuple[str, ...] = ("input",)
    axes: tuple[str, ...] = IMAGE
    domain: Domain = ANY
    batched: bool = True
    labelled: bool = False
    # Whether the outputs include decisions, such as which boxes were found: these may depend on rounding, and only
    # TorchScript's exporter can write them.
    decides: bool = False
    # Arguments of every builder, by the name of the model.
    arguments: Callable[[str], Mapping[str, Any]] = lambda name: {}
    # Arguments of builders by the beginning of their names, from the shape.
    sized: Mapping[str, Callable[[Sequence[int]], Mapping[str, Any]]] = field(default_factory=dict)
    # Further arguments if the weights are random.
    untrained: Callable[[str], Mapping[str, Any]] | None = None
    # Further arguments if the weights are a state dict, from the other arguments and that.
    saved: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]] = lambda arguments, state: {}
    call: Call = positional
    # Returns the served outputs, from those of the model.
    answers: Callable[[Any], Any] | None = None
    # What the answers mean, as ``Meaning`` has it, and the outputs that are read.
    meaning: MeaningKind = "softmax"
    meant: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _square(transforms: Any, module: Any) -> tuple[int, ...]:
    return (3, transforms.crop_size[0], transforms.crop_size[0])


def _classified(transforms: Any, shape: Sequence[int]) -> Preprocess:
    # With another size the crop keeps the same share of the picture.
    share = transforms.resize_size[0] / transforms.crop_size[0]
    return _prepared(transforms, shape, round(share * min(shape[1:])))


def _classifying(transforms: Any, shape: Sequence[Dim], name: str) -> Preparation:
    """Return the transform of a classifier; with another size the crop keeps the same share of the picture."""
    own, usual = copy(transforms), transforms.crop_size[0]
    size = [side if isinstance(side, int) else usual for side in shape[1:]]
    resize = round(transforms.resize_size[0] / transforms.crop_size[0] * min(size))
    own.crop_size, own.resize_size = size, [resize]
    step = Resize("shorter", (resize, resize), transforms.interpolation.value, turns=True)
    return preparing.centred(name, own, step, size, preparing.normalised(transforms.mean, transforms.std))


def _segmenting(transforms: Any, shape: Sequence[Dim], name: str) -> Preparation:
    """Return the transform of a segmenter, which keeps the shape of a picture."""
    size, filter_name = transforms.resize_size[0], transforms.interpolation.value
    reason = preparing.unfit(filter_name)
    if any(isinstance(side, int) for side in shape[1:]):
        axes = " ".join(f"--dynamic {name}:{axis}={side}" for axis, side in enumerate(IMAGE[1:], 2))
        reason = f"they keep their shape, and the model takes one size only; open it with {axes}"
    step = Resize("shorter", (size, size), filter_name, turns=True)
    numbers = preparing.normalised(transforms.mean, transforms.std)
    return preparing.of_transform(name, transforms, (step, *numbers), reason)


def _unprepared(reason: str) -> Callable[[Any, Sequence[Dim], str], Preparation]:
    """Return a task's preparation that no graph can do, for a reason."""
    return lambda transforms, shape, name: preparing.of_transform(name, transforms, (), reason)


def _segmented(transforms: Any, shape: Sequence[int]) -> Preprocess:
    return _prepared(transforms, shape, min(shape[1:]))


def _prepared(transforms: Any, shape: Sequence[int], resize: int) -> Preprocess:
    return pictures.preprocess(
        shape[1:],
        resize=resize,
        interpolation=transforms.interpolation.value,
        mean=transforms.mean,
        std=transforms.std,
    )


def _detected(transforms: Any, shape: Sequence[int]) -> Preprocess:
    """Return the preparation for detectors, which normalise images themselves."""
    plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    return pictures.preprocess(shape[1:], resize=min(shape[1:]), interpolation="bilinear", layout="CHW", **plain)


def _own_size(transforms: Any, module: Any) -> tuple[int, ...]:
    """Return the size that a detector scales every image to, so that it need not scale."""
    scaler = module.transform
    size = scaler.fixed_size[0] if scaler.fixed_size else scaler.min_size[-1]
    return (3, size, size)


def _clip(transforms: Any, module: Any) -> tuple[int, ...]:
    return (3, FRAMES, *transforms.crop_size)


def _one_image(tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (list(tensors),), {}


def _few(name: str) -> Mapping[str, Any]:
    return {"box_detections_per_img" if "rcnn" in name else "detections_per_img": FEW_BOXES}


def _segmenter(name: str) -> Mapping[str, Any]:
    """Return the arguments for a segmenter like the published ones, which have a second head, except LR-ASPP."""
    return {"weights_backbone": None, **({} if name.startswith("lraspp") else {"aux_loss": True})}


def _second_head(arguments: Mapping[str, Any], state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return whether a segmenter has the head that only training needs: saved weights may lack it."""
    return {"aux_loss": any(key.startswith("aux_classifier.") for key in state)} if "aux_loss" in arguments else {}


CLASSIFIER = Task(
    "an image classifier",
    "",
    _square,
    _classified,
    _classifying,
    labelled=True,
    sized={
        "vit_": lambda shape: {"image_size": shape[1]},
        "maxvit_": lambda shape: {"input_size": (shape[1], shape[1])},
    },
)
TASKS = (
    CLASSIFIER,
    Task(
        "a quantized image classifier",
        "quantization",
        _square,
        _classified,
        _classifying,
        labelled=True,
        arguments=lambda name: {"quantize": False},
        notes=(
            "it is the float32 network of the quantized one, since ONNX does not have PyTorch's quantized operators: "
            "--precision int8 quantizes it here",
        ),
    ),
    Task(
        "a segmentation model",
        "segmentation",
        lambda transforms, module: (3, transforms.resize_size[0], transforms.resize_size[0]),
        _segmented,
        _segmenting,
        arguments=_segmenter,
        saved=_second_head,
        meaning="segments",
        meant=("out",),
    ),
    Task(
        "a detector",
        "detection",
        _own_size,
        _detected,
        _unprepared("it takes one picture without a batch, and its exported graph only those of one size"),
        inputs=("image",),
        # It is unknown in which images it finds objects; most values of photographs lie here.
        domain=Domain(0.0, 1.0, known=False, center=(0.5,), spread=(0.25,)),
        batched=False,
        decides=True,
        arguments=lambda name: {"weights_backbone": None},
        untrained=_few,
        call=_one_image,
        meaning="found",
        notes=("it takes one image without a batch axis, with values in 0..1, and returns as many boxes as it finds",),
    ),
    Task(
        "a video classifier",
        "video",
        _clip,
        preparation=_unprepared("it takes clips of several frames, and not a picture"),
        inputs=("video",),
        axes=CLIP,
        labelled=True,
    ),
    Task(
        "an optical flow model",
        "optical_flow",
        lambda transforms, module: (3, *FLOW),
        preparation=_unprepared("it takes two pictures that belong together, and not one"),
        inputs=("image1", "image2"),
        # In a plain image nothing moves, and the output is noise.
        domain=Domain(-1.0, 1.0, known=False),
        decides=True,
        answers=lambda estimates: {"flow": estimates[-1]},
        meaning="none",
        notes=("only the last and best of its estimates is served",),
    ),
)


def task_of(name: str, models: Any) -> Task | None:
    """Return the task of one of torchvision's registered models; None for an unknown name."""
    for task in TASKS:
        if name in models.list_models(module=getattr(models, task.module) if task.module else models):
            return task
    return None
