"""What torchvision's models are for: a table of tasks, and how the models of each are built and asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelrepo.generator.sources.pytorch import Call, pictures, positional
from modelrepo.generator.specs.tensors import Domain

IMAGE = ("channels", "height", "width")
CLIP = ("channels", "frames", "height", "width")
# The clips that torchvision's video models were trained with have 16 frames, or were cut into such for the rest.
FRAMES = 16
# Height and width of the first crops that torchvision's references train RAFT with, those of FlyingChairs.
FLOW = (368, 496)
# Detectors with random weights answer no more boxes than these: among many, some always lie too close to tell apart.
FEW_BOXES = 4

ANY = Domain()

Preprocess = dict[str, Any] | None


@dataclass(frozen=True)
class Task:
    """How the models of one kind are asked. ``kind`` is what messages call one.

    ``module`` is that of torchvision which lists them, ``inputs`` are the names of their inputs, each a sample of the
    dimensions ``axes``, behind a batch where they are ``batched``. ``shape`` returns the shape of a sample that the
    network is for, from the transforms that were published with it and itself; ``preprocess`` how a client prepares
    one of a shape. ``arguments`` are given to every builder, ``sized`` to those whose name starts so, from the shape,
    ``untrained`` where the weights are random, and ``saved`` where they are a state dict, in place of the others.
    ``answers`` makes of what a model returns what is served. What a model ``decides``, such as which boxes it answers,
    may hang on rounding, and only TorchScript's exporter reads it.
    """

    kind: str
    module: str
    shape: Callable[[Any, Any], tuple[int, ...]]
    preprocess: Callable[[Any, Sequence[int]], Preprocess] = lambda transforms, shape: None
    inputs: tuple[str, ...] = ("input",)
    axes: tuple[str, ...] = IMAGE
    domain: Domain = ANY
    batched: bool = True
    labelled: bool = False
    decides: bool = False
    arguments: Callable[[str], Mapping[str, Any]] = lambda name: {}
    sized: Mapping[str, Callable[[Sequence[int]], Mapping[str, Any]]] = field(default_factory=dict)
    untrained: Callable[[str], Mapping[str, Any]] | None = None
    saved: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]] = lambda arguments, state: {}
    call: Call = positional
    answers: Callable[[Any], Any] | None = None
    notes: tuple[str, ...] = ()


def _square(transforms: Any, module: Any) -> tuple[int, ...]:
    return (3, transforms.crop_size[0], transforms.crop_size[0])


def _classified(transforms: Any, shape: Sequence[int]) -> Preprocess:
    # Of another size the crop keeps the part of the picture that it has of the weights' own.
    share = transforms.resize_size[0] / transforms.crop_size[0]
    return _prepared(transforms, shape, round(share * min(shape[1:])))


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
    """Detectors normalise by themselves."""
    plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    return pictures.preprocess(shape[1:], resize=min(shape[1:]), interpolation="bilinear", layout="CHW", **plain)


def _own_size(transforms: Any, module: Any) -> tuple[int, ...]:
    """Return the size that a detector scales every image to, so that it has nothing to scale."""
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
    """Return what makes a segmenter like the published one, which has a second head, but LR-ASPP."""
    return {"weights_backbone": None, **({} if name.startswith("lraspp") else {"aux_loss": True})}


def _second_head(arguments: Mapping[str, Any], state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return whether a segmenter has the head that only training needs: what was saved may be without."""
    return {"aux_loss": any(key.startswith("aux_classifier.") for key in state)} if "aux_loss" in arguments else {}


CLASSIFIER = Task(
    "an image classifier",
    "",
    _square,
    _classified,
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
        labelled=True,
        arguments=lambda name: {"quantize": False},
        notes=(
            "it is the float32 network that the quantized one is made of, since ONNX has none of PyTorch's quantized "
            "operators: --precision int8 quantizes it here",
        ),
    ),
    Task(
        "a segmentation model",
        "segmentation",
        lambda transforms, module: (3, transforms.resize_size[0], transforms.resize_size[0]),
        _segmented,
        arguments=_segmenter,
        saved=_second_head,
    ),
    Task(
        "a detector",
        "detection",
        _own_size,
        _detected,
        inputs=("image",),
        # Nothing says in which images it finds something; most values of photographs lie here.
        domain=Domain(0.0, 1.0, known=False, center=(0.5,), spread=(0.25,)),
        batched=False,
        decides=True,
        arguments=lambda name: {"weights_backbone": None},
        untrained=_few,
        call=_one_image,
        notes=("it takes one image, without a batch axis, of values in 0..1, and answers as many boxes as it finds",),
    ),
    Task(
        "a video classifier",
        "video",
        _clip,
        inputs=("video",),
        axes=CLIP,
        labelled=True,
    ),
    Task(
        "an optical flow model",
        "optical_flow",
        lambda transforms, module: (3, *FLOW),
        inputs=("image1", "image2"),
        # In a plain image nothing moves: what it answers then is noise.
        domain=Domain(-1.0, 1.0, known=False),
        decides=True,
        answers=lambda estimates: {"flow": estimates[-1]},
        notes=("of its estimates, each better than the one before, the last is served",),
    ),
)


def task_of(name: str, models: Any) -> Task | None:
    """Return the task of one of torchvision's registered models; None for an unknown name."""
    for task in TASKS:
        if name in models.list_models(module=getattr(models, task.module) if task.module else models):
            return task
    return None
