"""Mending mechanically: the edits of problems, applied to the texts that they are about."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from modelrepo.generator.lint.finding import Edit, Finding
from modelrepo.generator.lint.regular import opened
from modelrepo.generator.lint.text import read
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.system.files import replacing

END = (0, 0)
# Lines end with a line feed only: texts may hold other characters at which `splitlines` splits.
LINES = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True)
class Mended:
    """A file before and after its edits; ``findings`` are those that the edits mend."""

    file: Path
    before: str
    after: str
    findings: tuple[Finding, ...]

    def diff(self) -> str:
        """Return the change as a unified diff, which `patch` reads."""
        old, new = (LINES.findall(text) for text in (self.before, self.after))
        lines = unified_diff(old, new, f"a/{self.file}", f"b/{self.file}")
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)

    def write(self) -> None:
        """Replace the file in one step; its mode and owner stay, and a link to it stays a link.

        OSError: nothing has changed.
        """
        path = Path(os.path.realpath(self.file))
        old = path.stat() if path.exists() else None
        with replacing(path, old.st_mode & 0o7777 if old else 0o644) as temporary:
            temporary.write_bytes(encoded(self.after))
            if old and os.geteuid() == 0:
                os.chown(temporary, old.st_uid, old.st_gid)


def mended(findings: Iterable[Finding]) -> Iterator[Mended]:
    """Yield each file with the edits of its findings applied; of edits that overlap, the first counts.

    OSError if a file can't be read. A file that is not there is empty; one that would no longer parse stays.
    """
    by_file: dict[Path, list[tuple[Finding, tuple[Edit, ...]]]] = {}
    for finding in findings:
        for file in dict.fromkeys(edit.file for edit in finding.problem.edits):
            edits = tuple(edit for edit in finding.problem.edits if edit.file == file)
            by_file.setdefault(file, []).append((finding, edits))
    for file, wanted in by_file.items():
        before = _text_of(file)
        applied: list[tuple[int, int, str]] = []
        done = []
        for finding, edits in wanted:
            try:
                spans = [_span(edit, before) for edit in edits]
            except ValueError:  # the file has become shorter meanwhile: these edits are not for it
                continue
            new = [span for span in spans if span not in applied]
            if not any(_overlap(span, other) for span in new for other in applied):
                applied += new
                done.append(finding)
        after = _applied(before, applied)
        if _parses(after) or not _parses(before):
            yield Mended(file, before, after, tuple(done))


def _text_of(file: Path) -> str:
    if not os.path.lexists(file):
        return ""
    with opened(file) as content:
        return decoded(content.read())


def _parses(text: str) -> bool:
    return read(Path(CONFIG), text).message is not None


def decoded(content: bytes) -> str:
    """Return bytes as text, with line ends as they are; bytes that are not UTF-8 come back with ``encoded``."""
    return content.decode("utf-8", errors="surrogateescape")


def encoded(text: str) -> bytes:
    """Return the bytes of a text of ``decoded``."""
    return text.encode("utf-8", errors="surrogateescape")


def _span(edit: Edit, text: str) -> tuple[int, int, str]:
    """Return where an edit begins and ends, as characters of a text, and its own text with the text's line ends."""
    new = edit.text.replace("\n", "\r\n") if "\r\n" in text else edit.text
    if edit.begins == END:
        end = len(text)
        return end, end, new
    return _offset(edit.begins, text), _offset(edit.ends, text), new


def _offset(place: tuple[int, int], text: str) -> int:
    line, column = place
    start = 0
    for _ in range(line - 1):
        start = text.index("\n", start) + 1
    return start + column - 1


def _overlap(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _applied(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """Return a text with edits applied; several at one place in their order."""
    made, at = [], 0
    line_end = "\r\n" if "\r\n" in text else "\n"
    for begins, ends, new in sorted(spans, key=lambda span: span[:2]):
        made.append(text[at:begins])
        whole = "".join(made)
        if begins == len(text) and whole and not whole.endswith("\n") and not new.startswith(line_end):
            made.append(line_end)  # what is added at the end begins a line
        made.append(new)
        at = ends
    made.append(text[at:])
    return "".join(made)
