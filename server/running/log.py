"""Reading Triton's log: errors, and why models failed."""

import re
from collections.abc import Collection
from pathlib import Path

KEPT = 10
# `E1121 07:01:58.924613 2577 pb_stub.cc:714] "…"`: level, date, time, process, place, message.
ERROR = re.compile(r"^E\d{4} [\d:.]+ \d+ [\w.]+:\d+\] (?P<message>.*)$")
# The prefixes of a reason: Triton's error code, the name of a Python backend's exception.
KIND = re.compile(
    r"^((Internal|Invalid argument|Unavailable|Not found): |TritonModelException: "
    r"|unable to load model '[^']*': |load failed for model '[^']*': version \d+ is at UNAVAILABLE state: )+"
)
# A model that is refused before it is loaded. Over its API Triton only says that it failed to poll.
REFUSED = re.compile(r"Poll failed for model directory '(?P<model>[^']+)': (?P<reason>.*)")
# Protobuf gives the reason why it refused a text in the line before.
SYNTAX = re.compile(
    r"Error parsing text-format inference\.ModelConfig: (?P<detail>[^\n]*)\n[^\n]*directory '(?P<model>[^']+)'"
)
FAILED = re.compile(r"failed to load (model )?'(?P<model>[^']+)'( version \d+)?: (?P<reason>.*)")
# An error that every start without a GPU logs. It is harmless.
HARMLESS = "CudaDriverHelper"
# The message of a C++ program for an exception that was not caught.
UNCAUGHT = re.compile(r"terminate called after throwing an instance of .*\n\s*what\(\):\s*(.*)")


def errors(text: str) -> list[str]:
    """Return each error message once, without its time and place."""
    found = (ERROR.match(line) for line in text.splitlines())
    return list(dict.fromkeys(_plain(line["message"]) for line in found if line))


def failures(text: str) -> dict[str, str]:
    """Return the last reason in the log why each model failed, by name."""
    reasons = {}
    for message in errors(text):
        match = REFUSED.search(message) or FAILED.search(message)
        if match:
            reasons[match["model"]] = shorten(match["reason"])
    for match in SYNTAX.finditer(text):
        if match["model"] in reasons:
            reasons[match["model"]] += f": {match['detail']}"
    return reasons


def shorten(reason: str) -> str:
    """Return a reason on one line, without the place that a Python backend's error ends with."""
    first, _, _ = reason.partition("\n\nAt:\n")
    return " ".join(KIND.sub("", first).split()).rstrip(";")


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
