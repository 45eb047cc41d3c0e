"""A random model through the product, and its answers beside those of its source."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modelrepo.generator.backends.backend import ONNX_FORM
from modelrepo.generator.errors import ConversionError, ModelRepoError, SourceError, VerificationError
from tests.mutation.asked import NOTHING, Data, Wrong, batches, edges_of, with_edges, wrong
from tests.mutation.proof import job_of, loaded, proved

# What may become of a model. "edge": wrong only where the source's own answer changes if its input does by rounding.
OUTCOMES = ("right", "wrong", "edge", "caught", "refused", "source", "crash", "unfit")
SHOWN = 6


@dataclass(frozen=True)
class Description:
    """A random model: the reference of `generate`, its files as ``make`` writes them, and its ``text`` for a reader.

    ``direct``: it compares its inputs themselves with numbers, so that no rounding comes before: its edges count.
    """

    text: str
    reference: str
    make: Callable[[Path], None]
    options: Mapping[str, Any] = field(default_factory=dict)
    data: Data = NOTHING
    direct: bool = False


@dataclass(frozen=True)
class Task:
    """A random model by its kind and seed."""

    kind: str
    seed: int

    @property
    def key(self) -> str:
        """The name that no other task has."""
        return f"{self.kind}/{self.seed}"


@dataclass(frozen=True)
class Row:
    """What became of a random model: one of OUTCOMES, why, and the text of the model if it is not right."""

    key: str
    outcome: str
    reason: str = ""
    details: tuple[str, ...] = ()
    text: str = ""
    seconds: float = 0.0


def described(task: Task) -> Description:
    """Return the model of a task, always the same."""
    from tests.random_models import sklearn_models, tensorflow_models, torch_models

    kinds: Mapping[str, Callable[[int], Description]] = {
        "torch": torch_models.describe,
        "sklearn": sklearn_models.describe,
        "tensorflow": tensorflow_models.describe,
        "each-torch": torch_models.describe_each,
        "each-tensorflow": tensorflow_models.describe_each,
    }
    return kinds[task.kind](task.seed)


def work(task: Task) -> Iterator[Row]:
    """Yield the row of a task."""
    start = time.monotonic()
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        row = tried(task, Path(folder))
    yield Row(row.key, row.outcome, row.reason, row.details, row.text, round(time.monotonic() - start, 1))


def tried(task: Task, folder: Path) -> Row:
    """Return what became of a model in a folder."""
    text = ""
    try:
        model = described(task)
    except Exception as error:  # such as an estimator that can't be fitted on the table
        return Row(task.key, "unfit", f"{type(error).__name__}: {error}"[:200])
    try:
        text = model.text
        model.make(folder)
        with chdir(folder):
            return _asked(task, model, folder)
    except VerificationError as error:
        return Row(task.key, "caught", str(error), text=text)
    except ConversionError as error:
        return Row(task.key, "refused", str(error), text=text)
    except SourceError as error:
        return Row(task.key, "source", str(error), text=text)
    except ModelRepoError as error:
        return Row(task.key, "refused", str(error), text=text)
    except Exception as error:  # what nobody foresaw is a finding, too
        return Row(task.key, "crash", f"{type(error).__name__}: {error}"[:500], text=text)


def _asked(task: Task, model: Description, folder: Path) -> Row:
    job = job_of(model.reference.format(folder=folder), model.options)
    source = loaded(job)
    proven = proved(job, source, folder / "export")
    served = ONNX_FORM.open(proven.export.path)
    data = with_edges(model.data, edges_of(proven.export.path))
    found: list[Wrong] = []
    for arrays in batches(proven.export.signature, data, task.seed):
        found += wrong(source.run, served, arrays)
        if len(found) > 2 * SHOWN:
            break
    steady = [each for each in found if each.steady or model.direct]
    outcome = "wrong" if steady else "edge" if found else "right"
    details = tuple(dict.fromkeys(_said(each) for each in (steady or found)[:SHOWN]))
    reason = details[0] if details else ""
    return Row(task.key, outcome, reason, (*details, *proven.notes), model.text if found else "")


def _said(found: Wrong) -> str:
    shapes = ", ".join(f"{name}{list(array.shape)}" for name, array in found.arrays.items())
    return f"{found.output}: {found.message}, asked {shapes}"
