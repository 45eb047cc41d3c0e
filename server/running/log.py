"""Reading Triton's log: errors, and why models failed."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

KEPT = 10
# `E1121 07:01:58.924613 2577 pb_stub.cc:714] "…"`: level, date, time, process, place, message.
ERROR = re.compile(r"^E\d{4} [\d:.]+ \d+ [\w.]+:\d+\] (?P<message>.*)$")
# The prefixes of a reason: Triton's error code, the name of a Python backend's exception.
KIND = re.compile(
    r"^((Internal|Invalid argument|Unavailable|Not found): |TritonModelException: |Refused: |\[request id: [^]]*\] "
    r"|unable to load model '[^']*': |load failed for model '[^']*': version \d+ is at UNAVAILABLE state: )+"
)
# A model that is refused before it is loaded. Over its API Triton only says that it failed to poll.
REFUSED = re.compile(r"Poll failed for model directory '(?P<model>[^']+)': (?P<reason>.*)")
# Protobuf gives the reason why it refused a text in the line before.
UNPARSED = "failed to read text proto"
SYNTAX = re.compile(r"Error parsing text-format inference\.ModelConfig: (?P<detail>.*)")
FAILED = re.compile(r"failed to load (model )?'(?P<model>[^']+)'( version (?P<version>\d+))?: (?P<reason>.*)")
# An ensemble that does not fit its members. Over its API Triton gives no reason.
ENSEMBLE = re.compile(r"^Invalid argument: (?P<reason>(in )?ensemble '?(?P<model>[^ ,']+)'?.*)")
# A repository that can't be read at all.
UNREADABLE = re.compile(r"(?P<reason>failed to poll model repository .*)")
REASONS = (REFUSED, FAILED, ENSEMBLE, UNREADABLE)
# A version that a configuration names and that is not there; the model's other versions are loaded.
ABSENT = re.compile(r"(?P<reason>version (?P<version>\d+) is specified for model '(?P<model>[^']+)', but [^\"]*)")
# A model that was asked for and has no folder. The answer over the API does not say so.
UNFOUND = re.compile(r"(?P<reason>failed to poll model '(?P<model>[^']+)': (model not found|not unique)[^\"]*)")
LOADED = re.compile(r"successfully loaded '(?P<model>[^']+)'")
UNLOADED = re.compile(r"successfully unloaded '(?P<model>[^']+)' version (?P<version>\d+)")
# An error that every start without a GPU logs. It is harmless.
HARMLESS = "CudaDriverHelper"
# The message of a C++ program for an exception that was not caught.
UNCAUGHT = re.compile(r"terminate called after throwing an instance of .*\n\s*what\(\):\s*(.*)")


def errors(text: str) -> list[str]:
    """Return each error message once, without its time and place."""
    found = (ERROR.match(line) for line in text.splitlines())
    return list(dict.fromkeys(_plain(line["message"]) for line in found if line))


@dataclass(frozen=True)
class Refusal:
    """A model that Triton refused, or one version of it, and the reason; the whole repository has no name."""

    model: str
    version: str
    reason: str

    @property
    def in_folder(self) -> bool:
        """Whether the refused model has a folder."""
        return bool(self.model) and not UNFOUND.search(self.reason)


@dataclass(frozen=True)
class News:
    """What a part of the log says: by model its last refusals, unless it was loaded after them.

    ``absent`` are models that a client names, and versions that a configuration names, that are not there; the model's
    other versions are loaded.
    ``unloaded`` are pairs of a model and a version.
    """

    refused: dict[str, tuple[Refusal, ...]]
    absent: tuple[Refusal, ...]
    loaded: frozenset[str]
    unloaded: frozenset[tuple[str, str]]


def news(text: str) -> News:
    """Return what a part of the log says. Its lines must be complete."""
    refused: dict[str, tuple[Refusal, ...]] = {}
    absent: dict[Refusal, None] = {}
    loaded: set[str] = set()
    unloaded: set[tuple[str, str]] = set()
    detail = ""
    for line in text.splitlines():
        error = ERROR.match(line)
        if match := SYNTAX.search(line):
            detail = f": {match['detail']}"
        elif match := LOADED.search(line):
            loaded.add(match["model"])
            refused.pop(match["model"], None)
        elif match := UNLOADED.search(line):
            unloaded.add((match["model"], match["version"]))
        elif error and (match := _first((ABSENT, UNFOUND), _plain(error["message"]))):
            absent[_refusal(match)] = None
        elif error and (match := _first(REASONS, _plain(error["message"]))):
            found = _refusal(match, detail)
            refused[found.model] = (*_others(refused.get(found.model, ()), found), found)
            detail = ""
    return News(refused, tuple(absent), frozenset(loaded), frozenset(unloaded))


def _first(patterns: Sequence["re.Pattern[str]"], message: str) -> "re.Match[str] | None":
    return next((match for pattern in patterns if (match := pattern.search(message))), None)


def _refusal(match: "re.Match[str]", detail: str = "") -> Refusal:
    found = match.groupdict()
    reason = shorten(found["reason"])
    more = detail if reason.startswith(UNPARSED) else ""
    return Refusal(found.get("model") or "", found.get("version") or "", f"{reason}{more}")


def _others(refusals: Iterable[Refusal], new: Refusal) -> Iterator[Refusal]:
    """Yield the refusals that a new one leaves: those of other versions, if it is of a version."""
    return (each for each in refusals if new.version and each.version and each.version != new.version)


def failures(text: str) -> dict[str, str]:
    """Return the last reason in the log why each model failed, by name. A model that was loaded since is not named."""
    return {name: found[-1].reason for name, found in news(text).refused.items() if name}


def reason(text: str, model: str) -> str:
    """Return why a model that was asked for was not loaded, or an empty text."""
    said = news(text)
    found = [*said.refused.get(model, ()), *(each for each in said.absent if each.model == model)]
    return found[0].reason if found else ""


def shorten(reason: str) -> str:
    """Return a reason on one line, without the place that a Python backend's error ends with."""
    first, _, _ = reason.partition("\n\nAt:\n")
    return " ".join(KIND.sub("", first).split()).rstrip(";")


def complete(text: bytes) -> bytes:
    """Return a text without a line that is still being written, and without the first half of a reason."""
    lines = text.splitlines(keepends=True)
    while lines and (not lines[-1].endswith(b"\n") or SYNTAX.search(lines[-1].decode("utf-8", errors="replace"))):
        lines.pop()
    return b"".join(lines)


def listens(text: str) -> bool:
    """Whether the server answers over HTTP, according to its log. Only its metrics start after that."""
    return "Started HTTPService at" in text


def last_words(text: str) -> str:
    """Return the last message of a server that ended: its error, or else its last line."""
    fatal = re.findall(r"^error: (.*)", text, re.MULTILINE) or UNCAUGHT.findall(text)
    said = (
        fatal
        or [message for message in errors(text) if HARMLESS not in message]
        or [line for line in text.splitlines() if line.strip()]
    )
    return shorten(said[-1]) if said else "its log is empty"


def _plain(message: str) -> str:
    """Return a message without Triton's quotes and escapes."""
    if message.startswith('"') and message.endswith('"'):
        message = message[1:-1]
    return message.replace("\\n", "\n").replace('\\"', '"').replace("\\'", "'")


def new_file(folder: Path, name: str, running: Collection[str]) -> Path:
    """Return the path for a new log, and remove the oldest logs of ended servers, so that ``KEPT`` remain."""
    folder.mkdir(parents=True, exist_ok=True)
    ended = [path for path in folder.glob("*.log") if path.stem not in running]
    for old in sorted(ended, key=_age)[: -KEPT + 1]:
        old.unlink(missing_ok=True)
    return folder / f"{name}.log"


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another server's start has just removed it
        return 0.0
