"""A case through the product, and the published model's answers beside the right ones."""

import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import chdir, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from modelrepo.generator.errors import ModelRepoError, VerificationError
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.options.fields import FIELDS, parse_field
from modelrepo.generator.options.resolve import resolve, resolve_run
from modelrepo.generator.pipeline import generate
from modelrepo.generator.pipeline.job import Job
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.tensors import Array, Arrays
from modelrepo.server.checking.live_check import LiveCheck
from tests.conftest import PROJECT
from tests.foreign.case import Given, Row, Task
from tests.foreign.suites import SUITES, commit, tools

# What every model is generated with: what users get, but without a server, and with a short search.
OPTIONS = {"live_check": "off", "client_dir": "none", "verify_effort": "quick"}
# Given where `generate` has this option, so that a source that never ends is told from one that takes long.
SOURCE_SECONDS = {"source_timeout": "60"} if "source_timeout" in FIELDS else {}
# How far a published answer may be from the right one: a share of the largest magnitude of the output.
SHARE = 1e-3
NAME = "model"
LONGEST = 600


def work(task: Task) -> Iterator[Row]:
    """Yield the row of a task."""
    start = time.monotonic()
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        row = tried(task, Path(folder))
    text = replace(row, reason=_without(row.reason, folder), by_hand=_without(row.by_hand, folder))
    yield replace(measured(text, task), seconds=round(time.monotonic() - start, 1))


def measured(row: Row, task: Task) -> Row:
    """Return a row with what it was measured with, and when."""
    return replace(row, commit=commit(task.checkout), tools=tools(task.suite), date=f"{datetime.now(UTC):%Y-%m-%d}")


def _without(text: str, folder: str) -> str:
    """Return a text without the paths of this machine."""
    return text.replace(f"{folder}/", "").replace(f"{PROJECT}/", "")


def tried(task: Task, folder: Path) -> Row:
    """Return what became of a case in a folder."""
    suite = SUITES[task.suite]
    files, hand = folder / "files", folder / "hand"
    files.mkdir()
    hand.mkdir()
    try:
        with chdir(files):
            given = suite.given(task, files)
    except Exception as error:  # of another project's code
        return Row(task.key, "absent", _line(f"{type(error).__name__}: {error}"))
    if given is None:
        return Row(task.key, "absent", "the test makes no model")
    row = _generated(task, given, folder)
    if row.outcome != "needless":
        return row
    try:
        with chdir(hand):
            reason = suite.by_hand(task, hand)
    except Exception as error:  # the same
        reason = _line(f"{type(error).__name__}: {error}")
    return replace(row, outcome="rightly" if reason else "needless", by_hand=reason)


def _generated(task: Task, given: Given, folder: Path) -> Row:
    """Generate a model with defaults, and where that is refused with its own inputs as samples."""
    samples = folder / "samples.npz"
    tries: list[Mapping[str, Any]] = [{}]
    if given.samples and all(array.size for array in given.inputs.values()):
        tries.append({"samples": str(samples)})
    refusal: Row | None = None
    for number, more in enumerate(tries):
        home = folder / f"models{number}"
        try:
            if more:
                _write(samples, given)
            with chdir(folder / "files"):
                _publish(given, more, home, SUITES[task.suite].live)
        except ModelRepoError as error:
            caught = isinstance(error, VerificationError)
            reason = _line(str(error))
            if refusal and reason != refusal.reason:
                reason = f"{refusal.reason} With the test's own inputs: {reason}"
            refusal = Row(task.key, "needless", reason, caught=caught)
            continue
        except Exception as error:  # what nobody foresaw is a finding
            place = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
            return Row(task.key, "crash", _line(text), samples=bool(more))
        try:
            found = _wrong(given, home / NAME / "1/model.onnx")
        except Exception as error:  # of the source, asked as the test asks it
            return Row(task.key, "absent", _line(f"its own answers: {type(error).__name__}: {error}"))
        return Row(task.key, "wrong" if found else "right", found, samples=bool(more))
    assert refusal
    return refusal


def _publish(given: Given, more: Mapping[str, Any], home: Path, live: bool) -> None:
    """Generate into the repository ``home``; raises ModelRepoError where it is refused."""
    options = {
        **OPTIONS,
        **SOURCE_SECONDS,
        "backends": "onnx",
        **({"live_check": "require"} if live else {}),
        **given.options,
        **more,
    }
    flags = {name: parse_field(name, value, name) for name, value in options.items()}
    _, resolved = resolve(flags, ConfigFile(), given.reference)
    run = resolve_run({**flags, "repository": home}, ConfigFile())
    with LiveCheck("require", Progress()) if live else nullcontext() as gate:
        (result,) = generate.generate([Job(NAME, resolved)], run, Progress(), gate=gate).results
    if result.failure:
        raise result.failure


def _write(path: Path, given: Given) -> None:
    """Write a test's own inputs as samples."""
    plain = {name: array.astype(str) if array.dtype.kind == "O" else array for name, array in given.inputs.items()}
    np.savez(path, **cast("dict[str, Any]", plain))


def _wrong(given: Given, path: Path) -> str:
    """Return how a published model's answers to a test's own inputs differ from the right ones; nothing if equal."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options)
    names = [each.name for each in session.get_outputs()]
    feeds = _feeds(session, given)
    if isinstance(feeds, str):
        return feeds
    try:
        answers = dict(zip(names, session.run(names, feeds), strict=True))
    except Exception as error:  # of ONNX Runtime
        return _line(f"fails on the test's own inputs: {error}")
    expected = given.expected(feeds, names)
    pairs = zip(names, expected.values(), strict=False) if "0" in expected else None
    wanted = dict(pairs) if pairs else expected
    if len(expected) < len(names) or (not pairs and set(wanted) != set(names)):
        return f"outputs {', '.join(names)} instead of {', '.join(expected)}"
    found = (_difference(wanted[name], np.asarray(answers[name])) for name in names)
    return "; ".join(f"{name}: {each}" for name, each in zip(names, found, strict=True) if each)


def _feeds(session: Any, given: Given) -> "Arrays | str":
    """Return the test's own inputs as a published model takes them."""
    asked = session.get_inputs()
    if len(given.inputs) == 1 and len(asked) > 1:  # a table whose columns are served one by one
        (array,) = given.inputs.values()
        columns = {str(place): array[:, place : place + 1] for place in range(array.shape[-1])}
        given = replace(given, inputs=columns, named=False)
    named = given.named and {each.name for each in asked} <= set(given.inputs)
    if not named and len(asked) != len(given.inputs):
        return f"inputs {', '.join(each.name for each in asked)} instead of {', '.join(given.inputs)}"
    arrays = [given.inputs[each.name] for each in asked] if named else list(given.inputs.values())
    return {each.name: _fitted(array, each.type) for each, array in zip(asked, arrays, strict=True)}


# ONNX Runtime's names of types.
DTYPES = {
    "float": "float32",
    "double": "float64",
    "string": "object",
    **{
        name: name
        for name in ("bool", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
}


def _fitted(array: Array, kind: str) -> Array:
    dtype = DTYPES.get(kind.removeprefix("tensor(").removesuffix(")"))
    if dtype is None or array.dtype == dtype:
        return array
    if dtype == "object" and array.dtype.kind != "O":
        return array.astype(str).astype(object)
    return array.astype(dtype)


def _difference(wanted: Array, got: Array) -> str:
    """Return how an answer differs from the right one; numbers may by a share of the largest, NaN equals NaN."""
    wanted = np.asarray(wanted)
    if wanted.shape != got.shape:
        return f"shape {list(got.shape)} instead of {list(wanted.shape)}"
    if wanted.dtype.kind in "OSU" or got.dtype.kind in "OSU":
        unequal = np.vectorize(_text, otypes=[object])(wanted) != np.vectorize(_text, otypes=[object])(got)
    elif wanted.dtype.kind == "c" or got.dtype.kind == "c":
        return "complex numbers"
    else:
        first, second = wanted.astype(np.float64), got.astype(np.float64)
        finite = np.isfinite(first)
        magnitude = float(np.abs(first[finite]).max(initial=0.0))
        share = SHARE if wanted.dtype.kind == "f" else 0.0
        unequal = ~np.isclose(second, first, rtol=0, atol=share * magnitude + 1e-12, equal_nan=True)
    if not np.any(unequal):
        return ""
    place = tuple(int(each[0]) for each in np.nonzero(np.atleast_1d(unequal)))
    one, other = (np.atleast_1d(each)[place] for each in (wanted, got))
    return f"{other!r} instead of {one!r} at {list(place)} ({int(np.sum(unequal))} of {unequal.size})"


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _line(text: str) -> str:
    return " ".join(text.split())[:LONGEST]
