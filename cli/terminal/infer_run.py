"""Asking a model about samples of any number: the answers are shown, written and compared with labels as they come."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from modelrepo.cli.terminal import infer_answers as answers
from modelrepo.cli.terminal import infer_labels as labelling
from modelrepo.cli.terminal.infer_data import UNKNOWN, Fitted, Part, Samples, counted, of_file, of_values
from modelrepo.cli.terminal.infer_files import open_output
from modelrepo.cli.terminal.infer_had import of_images, of_texts, picture_input, refuse_pictures
from modelrepo.cli.terminal.infer_ranked import Ranked, RankedJudge, ranked_outputs
from modelrepo.clients.client import Client
from modelrepo.clients.errors import ClientError
from modelrepo.clients.inputs import Inputs, by_name
from modelrepo.clients.models import Answer, Model
from modelrepo.generator.errors import OptionError
from modelrepo.generator.progress import Progress

# Seconds between remarks on a terminal, and between lines.
REMARK, LINE = 0.2, 10.0
# More classes than any model has.
ALL_CLASSES = 100_000
# The axes of scores: samples and classes.
MATRIX = 2
# The best classes of an image that are shown, unless the user says how many.
TOP = 5


@dataclass(frozen=True)
class Question:
    """What is asked: about ``values``, the samples in ``file``, ``pictures`` (files and folders), or ``texts``.

    ``preprocess`` returns how a client prepares pictures, for a model that does not take them as they are; OptionError
    if that is not known. ``fitted`` is what is known of the table that the model was fitted on.
    """

    model: str
    version: str
    values: Inputs | None = None
    file: Path | None = None
    pictures: tuple[Path, ...] = ()
    texts: tuple[str | bytes, ...] = ()
    preprocess: Callable[[], Mapping[str, Any]] = dict
    labels: str | None = None
    columns: tuple[str, ...] = ()
    fitted: Fitted = UNKNOWN
    top: int | None = None
    output: Path | None = None
    as_json: bool = False


def ask(client: Client, question: Question, progress: Progress, at: str) -> str:
    """Ask a model, and return the result as text or as JSON. Labels that do not fit are refused before that."""
    known = client.model(question.model, question.version)
    samples, labels = _read(known, question, progress)
    for note in samples.notes:
        progress.show(note)
    judge: labelling.Judge | None = None
    ranked = ranked_outputs(known)
    if question.pictures and labels is None and question.output is None and _gives_classes(known):
        question = replace(question, top=question.top or TOP)
    if labels is not None and ranked is not None:
        judge = RankedJudge(ranked, labels, question.top)
    elif labels is not None:
        judged = labelling.judged_output(known)
        names = _class_names(client, known, question.version, next(iter(samples.parts())))
        judge = labelling.make_judge(judged, labels, names, question.top, question.model)
    elif question.top is not None and question.output is not None:
        raise OptionError("--top prints classes, and --output takes arrays", "Give one of them")
    for caution in samples.cautions:
        progress.warn(caution)
    with progress.step("infer", f"asking {question.model} at {at}") as step:
        started = monotonic()
        if question.top is not None and judge is None and ranked is None:
            text = _classify(client, question, samples, progress)
        else:
            text = _infer(client, known, question, samples, progress, judge, labels)
        if samples.rows > max(1, known.max_batch_size):
            step.outcome = f"{counted(samples.rows)}, {samples.rows / max(1e-9, monotonic() - started):,.0f} a second"
    return text


def _gives_classes(known: Model) -> bool:
    """Whether Triton can name the best classes: always asked of a model whose pictures are prepared here."""
    if picture_input(known) is None:
        return True
    return len(known.outputs) == 1 and (known.outputs[0].labels or len(known.outputs[0].dims) == MATRIX)


def _read(known: Model, question: Question, progress: Progress) -> tuple[Samples, labelling.Labels | None]:
    """Return the samples, with their labels if there are any or if they are asked for."""
    file, asked = question.file, question.labels
    if question.pictures:
        return _read_images(known, question)
    numbers = bool(asked) and ranked_outputs(known) is None and labelling.judged_output(known).how == "value"
    labels = labelling.Labels(numbers)
    if question.texts:
        samples = of_texts(question.texts, known)
    elif file is None:
        samples = of_values(known, question.values if question.values is not None else [])
    else:
        with progress.step("read", f"reading {file}") as step:
            samples = of_file(file, known, asked, question.columns, question.fitted, labels.add)
            step.outcome = counted(samples.rows)
    if asked is None:
        return samples, None
    _add_labels(question, asked, samples, labels)
    return samples, labels


def _add_labels(question: Question, asked: str, samples: Samples, labels: labelling.Labels) -> None:
    """Read labels from a file, if they are not among the samples; OptionError unless there is one for each row."""
    if not samples.labelled:
        if not Path(asked).is_file():
            inside = f"{question.file} has no {asked!r}, and " if question.file else ""
            raise OptionError(f"{inside}there is no file {asked}", "Give --labels a column, an array, or a file")
        labelling.read_file(Path(asked), samples.rows, labels)
    count = len(labels.values)
    if count != samples.rows:
        raise OptionError(f"{asked} has {count:,} label{'s' * (count != 1)} for {counted(samples.rows)}")


def _read_images(known: Model, question: Question) -> tuple[Samples, labelling.Labels | None]:
    preprocess = None
    if picture_input(known) is None:
        refuse_pictures(known)
        preprocess = question.preprocess()
    asked = question.labels
    samples, folders = of_images(question.pictures, known, preprocess)
    labels = labelling.Labels(numbers=False)
    if asked is not None:
        _add_labels(question, asked, replace(samples, labelled=False), labels)
        return samples, labels
    labels.add(folders, lambda row: f"{question.pictures[0]}: the folder {folders[row]}")
    return samples, labels if folders else None


def _class_names(client: Client, known: Model, version: str, part: Part) -> list[str]:
    """Return the names of a model's classes, in order, from its answer to one row; none if it has no names."""
    labelled = [tensor for tensor in known.outputs if tensor.labels]
    if len(labelled) != 1:
        return []
    values = by_name(known, part.inputs)
    one = {name: np.asarray(value)[:1] for name, value in values.items()} if known.max_batch_size else values
    (found, *_) = client.classify(known.name, one, ALL_CLASSES, labelled[0].name, version)
    return [each.label for each in sorted(found, key=lambda each: each.index)]


def _classify(client: Client, question: Question, samples: Samples, progress: Progress) -> str:
    found: list[Any] = []
    versions: dict[str, None] = {}
    reporter = Reporter(samples.rows, progress)
    for part in samples.parts():
        with _placed(part):
            classes = client.classify(question.model, part.inputs, question.top or 1, version=question.version)
        found.extend(classes)
        versions[classes.version] = None
        reporter.done(part.rows)
    if question.as_json:
        return answers.as_object(question.model, list(versions), classes=answers.classes_document(found))
    return f"{answers.classes_table(found, samples.names)}\n{answers.answered_by(question.model, list(versions))}"


def _infer(
    client: Client,
    known: Model,
    question: Question,
    samples: Samples,
    progress: Progress,
    judge: labelling.Judge | None,
    labels: labelling.Labels | None,
) -> str:
    ranked = ranked_outputs(known)
    kept = answers.Kept(everything=question.as_json and question.output is None and judge is None)
    values = labels.values if labels is not None else np.empty(0)
    versions: dict[str, None] = {}
    reporter, start = Reporter(samples.rows, progress), 0
    with open_output(question.output) as writer:
        for part, answer, version in _answers(client, known, question, samples):
            versions[version] = None
            kept.add(answer)
            if writer is not None:
                writer.add(answer)
            if judge is not None:
                judge.add(answer, values[start : start + part.rows])
            start += part.rows
            reporter.done(part.rows)
    shown = _Shown(kept, judge, Ranked(ranked, samples.names, question.top) if ranked and not judge else None)
    return _shown(question, shown, list(versions))


@dataclass(frozen=True)
class _Shown:
    """What there is to show of the answers: the outputs, how well they fit labels, and the best of ranked ones."""

    kept: answers.Kept
    judge: labelling.Judge | None
    ranked: Ranked | None


def _shown(question: Question, shown: _Shown, versions: Sequence[str]) -> str:
    """Return the accuracy if there are labels; otherwise the best classes or boxes, and the outputs."""
    kept, judge, ranked = shown.kept, shown.judge, shown.ranked
    if question.as_json:
        more: dict[str, Any] = judge.document() if judge else {}
        if ranked and kept.everything:
            more |= ranked.document(kept.outputs)
        if question.output is not None:
            more["output_file"] = str(question.output)
        return answers.as_object(question.model, versions, outputs=kept.document(), **more)
    found = judge.text() if judge else ranked.text(kept) if ranked and question.output is None else kept.text()
    return f"{found}\n{answers.answered_by(question.model, versions)}"


def _answers(client: Client, known: Model, question: Question, samples: Samples) -> Iterator[tuple[Part, Answer, str]]:
    """Yield each part with its answer, as rows, and the version that answered; an error names the part.

    Outputs come in the model's order: the server sends them in any.
    """
    waiting: deque[Part] = deque()

    def requests() -> Iterator[Inputs]:
        for part in samples.parts():
            waiting.append(part)
            yield part.inputs

    found = client.infer_each(question.model, requests(), version=question.version)
    while True:
        try:
            answer = next(found)
        except StopIteration:
            return
        except ClientError as error:
            raise _at(error, waiting[0] if waiting else None) from error
        part = waiting.popleft()
        ordered = {tensor.name: answer[tensor.name] for tensor in known.outputs if tensor.name in answer}
        yield part, answers.with_rows(ordered, samples.apart), answer.version


def _at(error: ClientError, part: Part | None) -> ClientError:
    """Return an error with the place of the part that it is about."""
    if part is None or not part.place:
        return error
    return type(error)(f"{part.place}: {error.message}", error.hint)


@contextmanager
def _placed(part: Part) -> Iterator[None]:
    """Name the part in the client's errors."""
    try:
        yield
    except ClientError as error:
        raise _at(error, part) from error


class Reporter:
    """Reports how many rows are done: on a terminal at once, and as a line now and then."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total, self._progress = total, progress
        self._count = 0
        self._start = self._remarked = self._told = monotonic()

    def done(self, rows: int) -> None:
        """Count rows, and report if it is time."""
        self._count += rows
        now = monotonic()
        if now - self._remarked > REMARK:
            self._remarked = now
            self._progress.note(f"{self._count:,} of {self._total:,} rows")
        if now - self._told > LINE:
            self._told = now
            rest = (self._total - self._count) * (now - self._start) / self._count
            self._progress.show(f"{self._count:,} of {self._total:,} rows, {rest:.0f} s left")
