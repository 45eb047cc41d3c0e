"""The data that a variant is calibrated with and its accuracy is measured on: the user's, or random inputs."""

from dataclasses import dataclass, replace
from pathlib import Path

from modelrepo.generator.errors import VerificationError
from modelrepo.generator.optimize.task import Task
from modelrepo.generator.verification import datasets
from modelrepo.generator.verification.accuracy import ENOUGH, GENERATED
from modelrepo.generator.verification.datasets import NO_DATA, Dataset
from modelrepo.generator.verification.inputs import Pool
from modelrepo.generator.verification.verify import usable

# The share of calibration data that is held out to measure accuracy on.
HELD_OUT = 0.25
RANDOM_CALIBRATION = (
    "calibrated with random inputs, whose ranges differ from those of real ones: give real ones with --calibration DIR"
)

GENERAL_CALIBRATION = (
    "calibrated with general texts, whose ranges may differ from those of yours: give real ones with --calibration DIR"
)


@dataclass(frozen=True)
class Data:
    """The data for making and judging a variant."""

    calibration: Dataset | None  # None if the variant is not calibrated
    measured: Dataset  # accuracy is measured on these
    notes: tuple[str, ...] = ()
    done: tuple[str, ...] = ()  # what was done with the user's calibration data, in words


def gather(task: Task) -> Data:
    """Return the data of a variant; it depends only on whether the variant is calibrated, and costs accuracy.

    Accuracy is measured on the user's samples, if there are ENOUGH; else on data held out of calibration, however
    little, since inputs outside the calibrated ranges would be judged unfairly; else on random inputs. Directions and
    classes of texts need ENOUGH of them, or else likely ones are drawn. Raises
    OptionError for data that does not fit or can't calibrate anything, and VerificationError if the model answers no
    random input.
    """
    calibration, held_out, notes = _calibration(task)
    data = _measured(task, calibration, held_out, notes)
    path = task.options.calibration.path
    return replace(data, done=(_told(data, held_out, path),)) if calibration and path else data


def _told(data: Data, held_out: Dataset, path: Path) -> str:
    """Return what was done with the user's calibration data at ``path``, in words."""
    calibration, others = data.calibration or NO_DATA, held_out.count
    taken = f" ({calibration.taken})" if calibration.taken else ""
    told = f"calibrated with {calibration.count} of {calibration.count + others} samples of {path.name or path}{taken}"
    if not others:
        return told
    return (
        f"{told}, accuracy measured on the other {others}" if data.measured is held_out else f"{told}, {others} unused"
    )


def _measured(task: Task, calibration: Dataset | None, held_out: Dataset, notes: tuple[str, ...]) -> Data:
    """Return the data of a variant with what its accuracy is measured on."""
    samples = task.proven.samples
    if samples.count >= ENOUGH:
        return Data(calibration, samples, notes)
    wanted = task.options.verify and task.costs_accuracy
    if samples.count and wanted:
        notes = (*notes, f"your {_counted(samples.count)} too few to measure accuracy: {ENOUGH} are needed")
    if held_out.count >= (ENOUGH if task.by_use else 1):
        few = held_out.count < ENOUGH and wanted
        return Data(calibration, held_out, (*notes, _few(held_out.count)) if few else notes)
    return Data(calibration, _random(task, GENERATED, task.options.seed + 1) if wanted else NO_DATA, notes)


def _few(count: int) -> str:
    return (
        f"accuracy is measured on {count} samples held out of the calibration data, which is too few to be reliable: "
        f"give {ENOUGH} --samples"
    )


def _counted(count: int) -> str:
    return "one sample is" if count == 1 else f"{count} samples are"


def _calibration(task: Task) -> tuple[Dataset | None, Dataset, tuple[str, ...]]:
    """Return the data to calibrate with, the data held out of it, and notes for the user."""
    wanted, source = task.options.calibration, task.proven.source
    if not task.calibrated:
        return None, NO_DATA, ()
    if wanted.path is None:
        drawn = _random(task, wanted.count, task.options.seed)
        return drawn, NO_DATA, (GENERAL_CALIBRATION if source.likely else RANDOM_CALIBRATION,)
    column = task.options.label_column
    given = datasets.read(
        wanted.path, task.proven.export.signature, source.preprocess, source.labels, source.own_labels, column
    )
    notes = (*given.notes, *datasets.check_calibration(given, wanted.path))
    return *given.split(HELD_OUT, task.options.seed), notes


def _likely(task: Task, count: int, seed: int) -> Dataset:
    """Return inputs that the source makes likely, such as texts; none if it can't."""
    draw = task.proven.source.likely
    lead = task.proven.export.signature.batch_dim is not None  # without batches, a row has the axis of a batch of one
    pools = []
    for group in draw(count, seed) if draw else ():
        arrays = {name: each if lead else each[:, None] for name, each in group.items()}
        rows = len(next(iter(arrays.values())))
        pools.append(Pool(arrays, tuple(f"text {number + 1} of {rows}" for number in range(rows))))
    return Dataset(tuple(pools))


def _random(task: Task, count: int, seed: int) -> Dataset:
    """Return likely inputs, or random ones; if the model may refuse some, only those that it answers with numbers."""
    signature = task.proven.export.signature
    likely = _likely(task, count, seed)
    if likely.count:
        return likely
    drawn = datasets.random_like(signature, task.proven.source.preprocess, count, seed)
    if all(spec.domain.known for spec in signature.inputs):
        return drawn
    try:
        return Dataset(tuple(usable(pool, task.proven.reference.recall, signature) for pool in drawn.pools))
    except VerificationError as error:
        raise VerificationError(
            "the model answers no random input with numbers, so the cost of a lower precision can't be measured",
            "Give inputs that it answers with --samples, and --calibration",
        ) from error
