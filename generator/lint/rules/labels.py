"""Label files of outputs."""

from collections.abc import Iterator
from pathlib import Path

from modelrepo.generator.lint.data import located, unreadable
from modelrepo.generator.lint.finding import Problem
from modelrepo.generator.lint.refusal import refused
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.subject import Case

# Until then the folder of another model passes for this one's, if its name begins like it (core #497).
SEPARATES = "26.06"


def missing(case: Case) -> Iterator[Problem]:
    """Find label files that are not there."""
    for number, name, path in _files(case):
        place = case.config.place("output", number, "label_filename")
        yield from unreadable(place, path, f"Put the labels of {name} into the model's folder")


def twice(case: Case) -> Iterator[Problem]:
    """Find outputs of the same name that both have labels."""
    seen: set[str] = set()
    for number, name, _ in _files(case):
        if name in seen:
            place = case.config.place("output", number, "label_filename")
            yield refused(place, f"multiple label files for '{name}'", TWICE.write)
        seen.add(name)


def outside(case: Case) -> Iterator[Problem]:
    """Find label files outside the folder of the model, where links end as well."""
    folder = case.model.folder.resolve()
    for number, name, path in _files(case):
        try:
            target = Path(path).resolve()
        except OSError:  # another rule's
            continue
        strict = case.host.release.container >= SEPARATES
        if not (target.is_relative_to(folder) if strict else str(target).startswith(str(folder))):
            words = (
                f"label file path '{path}' for output '{name}' in model '{case.model.name}' is outside model directory"
            )
            yield refused(case.config.place("output", number, "label_filename"), words, OUTSIDE.write)


def _files(case: Case) -> Iterator[tuple[int, str, str]]:
    """Yield the number and name of each output with labels, and their file."""
    for number, output in enumerate(case.config.message.output):
        if output.label_filename:
            yield number, output.name, located(case.model.folder, output.label_filename)


MISSING = Rule(
    code="LABEL",
    severity="error",
    title="a label file is not there",
    triton='Triton refuses the model: "failed to open text file for read …". The server dies of a folder.',
    write="Put the file into the model's folder; label_filename is relative to it",
    check=missing,
    seen="2.51",
)
TWICE = Rule(
    code="LABEL-DUP",
    severity="error",
    title="two outputs of the same name have labels",
    triton="Triton refuses the model: \"multiple label files for '…'\".",
    write="Write each output once",
    check=twice,
    seen="2.51",
)
OUTSIDE = Rule(
    code="LABEL-OUT",
    severity="error",
    title="a label file is outside the model's folder",
    triton='Triton refuses the model since 26.02: "label file path … is outside model directory".',
    write="Put the file into the model's folder",
    check=outside,
    source="core: src/model.cc, Model::Init",
    since="26.02",
)
RULES = (MISSING, TWICE, OUTSIDE)
