"""What `make coverage` generates: the families of models in one table, and what their tables are made into."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from modelrepo.generator.specs.tensors import Arrays

EVERYWHERE = ("onnx", "onnxruntime", "numpy")
TORCH = ("torch", "onnxscript")


@dataclass(frozen=True)
class Expected:
    """What a model must answer besides what its source does: ``check`` raises AssertionError for other answers."""

    inputs: Arrays
    check: Callable[[Arrays], None]


@dataclass(frozen=True)
class Case:
    """A model to generate: what `generate --model` is given, and its ``options`` by the names of the flags.

    ``make`` writes the files of the model into a folder, which ``reference`` calls ``{folder}``.
    ``batched``: it must be served in batches. ``said`` is what the page says of how the model was asked for.
    """

    family: str
    name: str
    reference: str
    make: Callable[[Path], Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    batched: bool = False
    said: str = ""
    expected: Callable[[], Expected] | None = None

    @property
    def key(self) -> str:
        """The name that no other case has."""
        return f"{self.family}/{self.name}"


@dataclass(frozen=True)
class Family:
    """Models that come from one place: what the page says of them, and how many are run in one process.

    ``packages`` are the distributions whose versions decide what becomes of them.
    """

    title: str
    about: str
    packages: tuple[str, ...]
    cases: Callable[[], Iterator[Case]]
    together: int = 1

    @property
    def tools(self) -> str:
        """What its models are measured with."""
        return ", ".join(f"{name} {metadata.version(name)}" for name in (*self.packages, *EVERYWHERE))


def _light() -> Iterator[Case]:
    from tests.coverage.light_models import MODELS, LightModel

    def expected(model: LightModel) -> Callable[[], Expected]:
        return lambda: Expected(model.inputs, model.check)

    for model in MODELS.values():
        yield Case("light", model.name, model.reference, expected=expected(model))


def _sklearn() -> Iterator[Case]:
    from tests.coverage.sklearn_models import FILE, models, save

    for name, (kind, _) in models().items():
        yield Case(
            "sklearn",
            name,
            f"sklearn:{{folder}}/{FILE}",
            make=partial(save, name),
            options={"trust_source": True},
            batched=True,
            said=kind,
        )


def _transformers() -> Iterator[Case]:
    from tests.coverage.transformers_models import MODELS, save

    for name, small in MODELS.items():
        shape = f"input_ids=1x{small.length}" if small.length else ""
        options = {"task": small.task, **({"input_shape": shape} if shape else {})}
        said = ", ".join(filter(None, (small.task, shape)))
        yield Case("transformers", name, "hf:{folder}", make=partial(save, name), options=options, said=said)


def _timm() -> Iterator[Case]:
    from tests.coverage.timm_models import NAMES

    for name in NAMES:
        yield Case("timm", name, f"timm:{name}", options={"weights": "random"}, batched=True)


def _keras() -> Iterator[Case]:
    from tests.coverage.keras_models import MODELS, STATISTICS

    def save(name: str, arguments: Mapping[str, Any], folder: Path) -> None:
        MODELS[name](**arguments).save(folder / f"{name}.keras")

    for name in sorted(MODELS, key=lambda name: KERAS_SLOW.get(name, 0)):
        shape = (224, 224, 3) if name.startswith(KERAS_LARGE) else ()
        yield Case(
            "keras",
            name,
            f"keras:{{folder}}/{name}.keras",
            make=partial(save, name, {"input_shape": shape} if shape else {}),
            batched=True,
            said=", ".join(filter(None, ("x".join(map(str, shape)), "statistics" if name in STATISTICS else ""))),
        )


def _torchvision() -> Iterator[Case]:
    from tests.coverage.torchvision_models import by_effort, is_classifier, shape_of

    for name in by_effort():
        shape = shape_of(name)
        options = {"weights": "random", **({"input_shape": shape} if shape else {})}
        yield Case("torchvision", name, f"torchvision:{name}", options=options, batched=is_classifier(name), said=shape)


# Those whose own pictures are wider than 256, and in rising order those that take long.
KERAS_LARGE = (
    *("EfficientNetB2", "EfficientNetB3", "EfficientNetB4", "EfficientNetB5", "EfficientNetB6", "EfficientNetB7"),
    *("EfficientNetV2B2", "EfficientNetV2B3", "EfficientNetV2S", "EfficientNetV2M", "EfficientNetV2L"),
    *("Inception", "NASNetLarge", "Xception"),
)
KERAS_SLOW = {
    name: place
    for place, name in enumerate(
        (
            *("DenseNet121", "ResNet152", "ResNet152V2", "DenseNet169", "ConvNeXtSmall", "EfficientNetB5"),
            *("DenseNet201", "EfficientNetV2S", "VGG16", "VGG19", "InceptionResNetV2", "NASNetMobile"),
            *("EfficientNetB6", "EfficientNetV2M", "ConvNeXtBase", "EfficientNetB7", "EfficientNetV2L"),
            *("NASNetLarge", "ConvNeXtLarge", "ConvNeXtXLarge"),
        ),
        1,
    )
}
# In the order that they are run in, quick ones first; so are the models of each, that a run cut short has most.
FAMILIES = {
    "light": Family(
        "Networks of the onnx package",
        "The whole networks of the `onnx` package, with constants for weights. Through Triton, each answers as the "
        "package expects.",
        (),
        _light,
        together=3,
    ),
    "sklearn": Family(
        "scikit-learn",
        "Every classifier and regressor that skl2onnx lists, and those of XGBoost and LightGBM, fitted on 120 samples.",
        ("scikit-learn", "skl2onnx", "onnxmltools", "xgboost", "lightgbm"),
        _sklearn,
        together=20,
    ),
    "transformers": Family(
        "Hugging Face transformers",
        "Architectures built small from their configuration. The column `details` names the task.",
        ("transformers", *TORCH),
        _transformers,
        together=4,
    ),
    "timm": Family(
        "timm",
        "Sixty architectures, a small member of as many families.",
        ("timm", *TORCH),
        _timm,
    ),
    "keras": Family(
        "Keras applications",
        "Every architecture of `keras.applications`, saved as a `.keras` file. EfficientNetV2M and V2L, with the "
        "detail *statistics*, have batch norms with the statistics of eight random inputs, as after training. With "
        "Keras's initial statistics, EfficientNetV2M's logits grow to 1e5, and a rounding error in the input changes "
        "them as much as a different input: nothing can be compared with that.",
        ("keras", "tensorflow-cpu", "tf2onnx"),
        _keras,
    ),
    "torchvision": Family(
        "torchvision",
        "Every name that torchvision lists.",
        ("torchvision", *TORCH),
        _torchvision,
    ),
}


def cases_of(family: str) -> Sequence[Case]:
    """Return the cases of one family, in the order of its table."""
    return tuple(FAMILIES[family].cases())
