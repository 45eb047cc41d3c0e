"""What a variant is calibrated with, and what its accuracy is measured on: the user's, or random inputs."""

from dataclasses import dataclass

from modelrepo.generator.errors import VerificationError
from modelrepo.generator.optimize.task import Task
from modelrepo.generator.verification import datasets
from modelrepo.generator.verification.accuracy import ENOUGH, GENERATED
from modelrepo.generator.verification.datasets import NO_DATA, Dataset
from modelrepo.generator.verification.verify import usable

# Of data that is calibrated with, this share is kept back to measure on.
HELD_OUT = 0.25
RANDOM_CALIBRATION = (
    "calibrated with random inputs, whose ranges are not those of real ones: give real ones with --calibration DIR"
)


@dataclass(frozen=True)
class Data:
    """The data for making and judging a variant."""

    calibration: Dataset | None  # None if the variant is not calibrated
    measured: Dataset  # accuracy is measured on these
    notes: tuple[str, ...] = ()


def gather(task: Task) -> Data:
    """Return the data of a variant; it depends on nothing of it but whether it is calibrated, and costs accuracy.

    Measured on are the user's samples, if they are ENOUGH; else what is kept back from calibration, however little,
    since what lies outside the calibrated ranges would be judged unjustly; else random inputs. Raises
    OptionError for data that does not fit or calibrates nothing, and VerificationError where the model answers no
    random input.
    """
    calibration, held_out, notes = _calibration(task)
    samples = task.proven.samples
    if samples.count >= ENOUGH:
        return Data(calibration, samples, notes)
    wanted = task.options.verify and task.costs_accuracy
    if samples.count and wanted:
        notes = (*notes, f"your {_counted(samples.count)} too few to measure accuracy on: {ENOUGH} are wanted")
    if held_out.count:
        few = held_out.count < ENOUGH and wanted
        return Data(calibration, held_out, (*notes, _few(held_out.count)) if few else notes)
    return Data(calibration, _random(task, GENERATED, task.options.seed + 1) if wanted else NO_DATA, notes)


def _few(count: int) -> str:
    return (
        f"accuracy is measured on {count} of the calibration data, which are kept back and say little: "
        f"give {ENOUGH} --samples"
    )


def _counted(count: int) -> str:
    return "one sample is" if count == 1 else f"{count} samples are"


def _calibration(task: Task) -> tuple[Dataset | None, Dataset, tuple[str, ...]]:
    """Return what to calibrate with, what of it is kept back, and what is worth telling about it."""
    wanted, source = task.options.calibration, task.proven.source
    if not task.calibrated:
        return None, NO_DATA, ()
    if wanted.path is None:
        return _random(task, wanted.count, task.options.seed), NO_DATA, (RANDOM_CALIBRATION,)
    given = datasets.read(wanted.path, task.proven.export.signature, source.preprocess, source.labels)
    notes = (*given.notes, *datasets.check_calibration(given, wanted.path))
    return *given.split(HELD_OUT, task.options.seed), notes


def _random(task: Task, count: int, seed: int) -> Dataset:
    """Return random inputs; of a model that may refuse some, those that it answers with numbers."""
    signature = task.proven.export.signature
    drawn = datasets.random_like(signature, task.proven.source.preprocess, count, seed)
    if all(spec.domain.known for spec in signature.inputs):
        return drawn
    try:
        return Dataset(tuple(usable(pool, task.proven.reference.recall, signature) for pool in drawn.pools))
    except VerificationError as error:
        raise VerificationError(
            "the model answers no random input with numbers, so nothing tells what a lower precision costs",
            "Give inputs that it answers with --samples, and --calibration",
        ) from error
