"""The models whose graphs get faults: families in one table, each a table of models of its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.mutation.asked import NOTHING, Data


@dataclass(frozen=True)
class Case:
    """A model: what `generate --model` is given, with options by the names of flags.

    ``make`` writes the files of the model into a folder, which ``reference`` calls ``{folder}``. ``data`` returns what
    is known of its inputs, once the files are there.
    """

    family: str
    name: str
    reference: str
    make: Callable[[Path], Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    data: Callable[[Path], Data] = lambda folder: NOTHING

    @property
    def key(self) -> str:
        """The name that no other case has."""
        return f"{self.family}/{self.name}"


@dataclass(frozen=True)
class Family:
    """Models that come from one place; ``together`` of them share a process."""

    title: str
    cases: Callable[[], Iterator[Case]]
    together: int


QUICK_EXPORT = {"exporter": "torchscript"}


def _tables() -> Iterator[Case]:
    from tests.mutation import sklearn_models

    for name, script in sklearn_models.SCRIPTS.items():
        yield Case(
            "sklearn",
            name,
            f"sklearn:{{folder}}/{sklearn_models.FILE}",
            partial(sklearn_models.save, script),
            {"trust_source": True},
            sklearn_models.data,
        )


def _torch() -> Iterator[Case]:
    from tests.mutation.torch_models import MODELS, text

    for place, (name, model) in enumerate(MODELS.items()):
        options = {} if model.exported or place % 8 == 0 else QUICK_EXPORT
        data = Data(whole=model.whole)
        yield Case("torch", name, "python:nets:make", partial(_write, "nets.py", text(model)), options, _always(data))


def _tensorflow() -> Iterator[Case]:
    from tests.mutation.tensorflow_models import MODELS, text

    for name, model in MODELS.items():
        data = Data(whole=model.whole)
        yield Case("tensorflow", name, "python:nets:make", partial(_write, "nets.py", text(model)), {}, _always(data))


def _onnx() -> Iterator[Case]:
    from tests.mutation.onnx_models import MODELS, save

    for name, model in MODELS.items():
        data = Data(whole=model.whole, texts=model.texts, missing=model.missing)
        yield Case("onnx", name, "onnx:{folder}/model.onnx", partial(save, model), {}, _always(data))


def _transformers() -> Iterator[Case]:
    from tests.coverage.transformers_models import MODELS, save

    for name in TRANSFORMERS:
        options = {"task": MODELS[name].task, **QUICK_EXPORT}
        yield Case("transformers", name, "hf:{folder}", partial(save, name), options, _always(Data(whole=(0, 99))))


def _torchvision() -> Iterator[Case]:
    for name in TORCHVISION:
        options = {"weights": "random", "input_shape": "1x3x64x64", **QUICK_EXPORT}
        yield Case("torchvision", name, f"torchvision:{name}", _nothing, options)


# The quickest of what the coverage page has, one of each kind.
TRANSFORMERS = ("distilbert", "gpt2", "electra", "t5-encoder", "resnet", "vit", "roberta", "convnext")
TORCHVISION = ("squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "resnet18")
FAMILIES = {
    "onnx": Family("ONNX files", _onnx, 20),
    "sklearn": Family("scikit-learn, XGBoost, LightGBM", _tables, 12),
    "torch": Family("PyTorch", _torch, 12),
    "tensorflow": Family("TensorFlow and Keras", _tensorflow, 10),
    "transformers": Family("Hugging Face transformers", _transformers, 4),
    "torchvision": Family("torchvision", _torchvision, 2),
}


def cases_of(families: Sequence[str] = tuple(FAMILIES)) -> list[Case]:
    """Return the cases of some families, in the order of their tables."""
    return [case for family in families for case in FAMILIES[family].cases()]


def _always(data: Data) -> Callable[[Path], Data]:
    return lambda folder: data


def _write(name: str, text: str, folder: Path) -> None:
    (folder / name).write_text(text, "utf-8")


def _nothing(folder: Path) -> None:
    """Write nothing: the source has the model."""
