"""One function of the user, called for the requests of a server: its annotations, its samples, its faults.

A copy of this file lies beside the ``model.py`` of every Python step, and runs in Triton's container: it needs Python
and numpy only, and nothing of modelrepo. ``python FILE`` answers over stdin and stdout, for the reference.
"""

import faulthandler
import importlib
import inspect
import os
import pickle
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

import numpy as np

# The folder of the user's code, beside this file.
CODE = "code"
# The seconds that a function gets to end after it was interrupted, before its process is ended.
GRACE_SECONDS = 5.0
SHOWN_CHARACTERS = 300
DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "string"),
)
# The numpy type of values that are no arrays.
VALUES: Mapping[Any, str] = {str: "string", bytes: "string", float: "float64", int: "int64", bool: "bool"}
EXAMPLE = 'Annotated[np.ndarray, "float32[3, height, width]"]'
# [NAME=][DTYPE]"["SIZE, NAME or ?, …"]"
DESCRIPTION = re.compile(r"\s*(?:(?P<name>[A-Za-z_]\w*)\s*=\s*)?(?P<dtype>\w*)\s*(?:\[(?P<dims>[^\[\]]*)\])?\s*")


class StepError(Exception):
    """A step can't answer; the message is one line that names the step."""


# The outputs of a request by name, or why there are none.
Answer: TypeAlias = dict[str, Any] | StepError


class TimedOut(BaseException):
    """Interrupts a function that takes too long; no ``except Exception`` of the function catches it."""


@dataclass(frozen=True)
class Value:
    """One argument or result of a function."""

    name: str
    dtype: str  # numpy's name, or "string"
    dims: tuple[
        int | str, ...
    ]  # sizes, names that stand for one size in a call, or "?" for any; with ``batched``' batch
    kind: str  # what the function sees: "array", "list of str", or the name of a type in VALUES
    argument: str = ""  # its name in the function

    @property
    def text(self) -> str:
        """The value as an annotation says it."""
        return f"{self.dtype}[{', '.join(map(str, self.dims))}]"


class Step:
    """A function with what its annotations say; ``batched``: it is called with batches, and else sample by sample.

    ``arguments`` are values for arguments that are no inputs.
    """

    def __init__(
        self,
        name: str,
        target: str,
        *,
        batched: bool,
        timeout: float,
        arguments: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.name, self.target, self.batched, self.timeout = name, target, batched, timeout
        self.arguments = dict(arguments)
        with self._named():
            with _explained(f"can't import {target.partition(':')[0]}"):
                self.function = _function(target)
            with _explained("its annotations can't be read"):
                self.inputs, self.outputs = _described(self.function, self.arguments)
            if batched and (unbatched := [each for each in (*self.inputs, *self.outputs) if not each.dims]):
                raise StepError(f"{unbatched[0].name!r} has no batch dimension, but the step is batched")

    def answer(self, arrays: Mapping[str, Any], *, batching: bool) -> dict[str, Any]:
        """Return the outputs by name for one request's inputs, in the shapes of Triton; StepError if there are none.

        With ``batching``, the leading dimension of every array is a batch. Triton has no tensors without dimensions:
        what the function sees as a single value is a vector of one element there.
        """
        with self._named(), _limited(self.timeout):
            asked = self._inner(arrays, batching)
            if self.batched or not batching:
                return self._outer(self._called(asked), batching)
            rows = range(len(asked[self.inputs[0].name]))
            samples = [self._called({name: array[row, ...] for name, array in asked.items()}) for row in rows]
            return self._outer({each.name: _stacked(each, samples) for each in self.outputs}, batching)

    def answer_all(
        self, requests: Sequence[Mapping[str, Any]], *, batching: bool
    ) -> "list[dict[str, Any] | StepError]":
        """Return each request's outputs, or its error: one that fails leaves the others alone.

        A batched function gets all of them at once if it can.
        """
        if self.batched and batching and len(requests) > 1:
            joined = self._joined(requests)
            if joined is not None:
                return joined
        return [self._alone(request, batching) for request in requests]

    def _alone(self, request: Mapping[str, Any], batching: bool) -> Answer:
        try:
            return self.answer(request, batching=batching)
        except StepError as error:
            return error

    def _joined(self, requests: Sequence[Mapping[str, Any]]) -> list[Answer] | None:
        """Return the parts of one answer to all requests, or None: they differ, or one of them is at fault."""
        if len({tuple((name, np.shape(array)[1:]) for name, array in sorted(each.items())) for each in requests}) > 1:
            return None
        try:
            answers = self.answer(
                {name: np.concatenate([each[name] for each in requests]) for name in requests[0]}, batching=True
            )
        except StepError:
            return None
        ends = np.cumsum([len(each[self.inputs[0].name]) for each in requests])[:-1]
        split = {name: np.split(array, ends) for name, array in answers.items()}
        return [{name: parts[index] for name, parts in split.items()} for index in range(len(requests))]

    def _inner(self, arrays: Mapping[str, Any], batching: bool) -> dict[str, Any]:
        """Return a request's inputs as arrays, in the shapes of the annotations."""
        inner = {each.name: np.asarray(arrays[each.name]) for each in self.inputs}
        for each in self.inputs:
            array = inner[each.name]
            if self._is_single(each, batching) and array.shape[-1:] == (1,):
                inner[each.name] = array.reshape(array.shape[:-1])
        return inner

    def _outer(self, answers: dict[str, Any], batching: bool) -> dict[str, Any]:
        """Return answers in the shapes of Triton."""
        single = {each.name for each in self.outputs if self._is_single(each, batching)}
        return {name: array[..., None] if name in single else array for name, array in answers.items()}

    def _is_single(self, value: Value, batching: bool) -> bool:
        """Whether a sample of a value has no dimensions."""
        return len(value.dims) == (1 if self.batched and batching else 0)

    def _called(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Call the function once, and return its results as checked arrays."""
        sizes: dict[str, int] = {}
        for each in self.inputs:
            _fit(f"input {each.name!r}", np.shape(arrays[each.name]), each, sizes)
        given = {each.argument: _given(arrays[each.name], each) for each in self.inputs}
        with _explained("fails"):
            results = self.function(**given, **self.arguments)
        if len(self.outputs) == 1 and not isinstance(results, tuple):
            results = (results,)
        count = len(results) if isinstance(results, (tuple, list)) else 1
        if count != len(self.outputs):
            raise StepError(f"returns {count} values, its annotation says {len(self.outputs)}")
        with _explained("returns what numpy can't read"):
            answers = {
                each.name: _taken(result, each, sizes) for each, result in zip(self.outputs, results, strict=True)
            }
        rows = len(arrays[self.inputs[0].name]) if self.batched else 0
        for name, array in answers.items() if self.batched else ():
            if len(array) != rows:
                raise StepError(f"returns {len(array)} rows of {name!r} for a batch of {rows}")
        return answers

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the step in every error, and say when it took too long."""
        try:
            yield
        except StepError as error:
            raise StepError(f"step {self.name!r}: {error}") from error
        except TimedOut:
            raise StepError(f"step {self.name!r}: no answer within {self.timeout:g} s; it was interrupted") from None


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn everything that the user's code may raise into a StepError."""
    try:
        yield
    except (StepError, TimedOut):
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        own = str(error) if getattr(error, "in_own_words", False) else f"{what}: {_reason(error)}"
        raise StepError(own) from error


def _stacked(value: Value, samples: list[dict[str, Any]]) -> Any:
    arrays = [sample[value.name] for sample in samples]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise StepError(
            f"the samples of this request have {value.name!r} of different shapes, {list(shapes[0])} and "
            f"{list(shapes[1])}; send them in requests of their own"
        )
    return np.stack(arrays)


def _function(target: str) -> Any:
    module, _, name = target.partition(":")
    function: Any = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(function, part):
            raise StepError(f"{module} has no {name!r}")
        function = getattr(function, part)
    if not callable(function) or isinstance(function, type):
        raise StepError(f"{target} is a {type(function).__name__}, not a function")
    return function


def _described(function: Any, arguments: Mapping[str, Any]) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """Return the inputs and the results that a function's annotations describe; StepError for others.

    An argument with a default, or with a value in ``arguments``, is no input.
    """
    hints = get_type_hints(function, include_extras=True)
    found = inspect.signature(function).parameters
    unknown = sorted(arguments.keys() - found.keys())
    if unknown:
        raise StepError(f"the function has no argument {unknown[0]!r}; it has {', '.join(found)}")
    inputs = []
    for each in found.values():
        if each.name in arguments or each.default is not each.empty:
            continue
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD, each.POSITIONAL_ONLY):
            raise StepError(f"{each} can't be an input: name each input as a plain argument")
        if each.name not in hints:
            raise StepError(f"the argument {each.name!r} has no annotation: write {each.name}: {EXAMPLE}")
        inputs.append(replace(_value(hints[each.name], each.name, f"the argument {each.name!r}"), argument=each.name))
    if not inputs:
        raise StepError("the function has no arguments")
    if "return" not in hints:
        raise StepError(f"the result has no annotation: write -> {EXAMPLE}")
    outputs = _results(hints["return"])
    for kind, values in (("inputs", inputs), ("outputs", outputs)):
        names = [each.name for each in values]
        if len(set(names)) < len(names):
            raise StepError(f"two {kind} have one name: {', '.join(names)}")
    return tuple(inputs), tuple(outputs)


def _results(hint: Any) -> list[Value]:
    """Return the results in an annotation: a type, a tuple of types, or a NamedTuple class."""
    if isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
        fields = get_type_hints(hint, include_extras=True)
        return [_value(fields[name], name, f"the result {name!r}") for name in hint._fields]
    if get_origin(hint) is tuple:
        return [_value(each, f"output_{number}", f"result {number}") for number, each in enumerate(get_args(hint))]
    return [_value(hint, "output", "the result")]


def _value(hint: Any, name: str, what: str) -> Value:
    kind, texts = hint, []
    if get_origin(hint) is Annotated:
        kind, *extras = get_args(hint)
        texts = [each for each in extras if isinstance(each, str)]
    found = DESCRIPTION.fullmatch(texts[0]) if texts else None
    if texts and not found:
        raise StepError(f"can't read {texts[0]!r} of {what}: write for example {EXAMPLE}")
    name = (found["name"] if found else None) or name
    dtype = (found["dtype"] if found else "") or ""
    if dtype and dtype not in DTYPES:
        raise StepError(f"{what} has the type {dtype!r}: choose one of {', '.join(DTYPES)}; a name is {dtype + '='!r}")
    dims = None if found is None or found["dims"] is None else _dims(found["dims"], what)
    if kind in VALUES:
        if dims or (dtype and (dtype == "string") != (VALUES[kind] == "string")):
            raise StepError(f"{what} is {kind.__name__}, which {texts[0]!r} is not")
        return Value(name, dtype or VALUES[kind], (), kind.__name__)
    if get_origin(kind) is list and get_args(kind)[0] in VALUES:
        return Value(name, dtype or VALUES[get_args(kind)[0]], dims or ("?",), f"list of {get_args(kind)[0].__name__}")
    if kind is np.ndarray or get_origin(kind) is np.ndarray:
        dtype = dtype or _item_type(kind)
        if dims is None or dtype not in DTYPES:
            raise StepError(f"{what} is an array of unknown type or shape: write {EXAMPLE}")
        return Value(name, dtype, dims, "array")
    raise StepError(
        f"{what} is {getattr(kind, '__name__', kind)}: a step takes and returns numpy arrays, str, bytes, float, int, "
        "bool, and lists of those"
    )


def _item_type(kind: Any) -> str:
    """Return the type in ``NDArray[np.float32]``, or an empty text."""
    try:
        return str(np.dtype(get_args(get_args(kind)[1])[0]).name)
    except (IndexError, TypeError):
        return ""


def _dims(text: str, what: str) -> tuple[int | str, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        if not (part == "?" or part.isidentifier() or (part.isdigit() and int(part) > 0)):
            raise StepError(f"{what} has the size {part!r}: write a number, a name, or ? for any size")
    return tuple(int(part) if part.isdigit() else part for part in parts)


def _fit(what: str, shape: tuple[int, ...], value: Value, sizes: dict[str, int]) -> None:
    """Raise StepError for a shape that a value's annotation excludes; note the sizes that names stand for."""
    fits = len(shape) == len(value.dims)
    for size, dim in zip(shape, value.dims, strict=False):
        wanted = size if dim == "?" else dim if isinstance(dim, int) else sizes.setdefault(dim, size)
        fits = fits and size == wanted
    if not fits:
        known = ", ".join(f"{dim} = {sizes[dim]}" for dim in value.dims if isinstance(dim, str) and dim in sizes)
        where = f", where {known}" if known else ""
        raise StepError(f"{what} has the shape {list(shape)}, its annotation says {value.text}{where}")


def _given(array: Any, value: Value) -> Any:
    """Return an array as the function takes it; StepError for a string that is not UTF-8."""
    array = np.asarray(array)
    if value.dtype == "string":
        of = _encoded if value.kind.endswith("bytes") else _decoded
        array = _objects([of(item, value) for item in array.ravel()], array.shape)
    if value.kind == "array":
        return array if array.flags.writeable else array.copy()
    return array.tolist() if value.kind.startswith("list") else array.item()


def _encoded(item: Any, _: Value) -> bytes:
    return item.encode(errors="surrogateescape") if isinstance(item, str) else bytes(item)


def _decoded(item: Any, value: Value) -> str:
    try:
        return item if isinstance(item, str) else bytes(item).decode()
    except UnicodeDecodeError as error:
        raise StepError(f"input {value.name!r} is not UTF-8 at byte {error.start}") from error


def _objects(items: list[Any], shape: tuple[int, ...]) -> Any:
    array = np.empty(len(items), np.object_)
    array[:] = items
    return array.reshape(shape)


def _taken(result: Any, value: Value, sizes: dict[str, int]) -> Any:
    """Return a result as an array of the annotated type and shape; StepError if it has others."""
    if value.kind == "array" and not isinstance(result, (np.ndarray, np.generic)):
        raise StepError(f"returns {type(result).__name__} as {value.name!r}, its annotation says {value.text}")
    if value.dtype == "string":
        array = _strings(result, value)
    else:
        array = np.asarray(result)
        plain = value.kind != "array" and np.can_cast(array.dtype, np.dtype(value.dtype), "same_kind")
        array = array.astype(value.dtype) if plain else array
    if value.dtype != "string" and array.dtype != np.dtype(value.dtype):
        said = array.dtype if array.dtype != np.object_ else type(result).__name__
        raise StepError(f"returns {said} as {value.name!r}, its annotation says {value.text}")
    _fit(f"{value.name!r}", array.shape, value, sizes)
    return np.ascontiguousarray(array) if array.ndim else array


def _strings(result: Any, value: Value) -> Any:
    shape: tuple[int, ...] = (len(result),) if isinstance(result, (list, tuple)) else np.shape(result)
    items = [result] if shape == () and not isinstance(result, np.ndarray) else list(np.ravel(_flat(result)))
    for item in items:
        if not isinstance(item, (str, bytes)):
            raise StepError(f"returns {type(item).__name__} in {value.name!r}, its annotation says {value.text}")
    return _objects([item.encode() if isinstance(item, str) else bytes(item) for item in items], shape)


def _flat(result: Any) -> Any:
    return result if isinstance(result, np.ndarray) else _objects(list(result), (len(result),))


def _reason(error: BaseException) -> str:
    """Return an exception in one line, with the place in the user's code."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0][:SHOWN_CHARACTERS]}" if lines else type(error).__name__
    frames = [each for each in traceback.extract_tb(error.__traceback__) if f"/{CODE}/" in each.filename]
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Interrupt the block after some seconds, and end this process if it goes on in spite of that; 0 is no limit.

    A signal interrupts Python code and system calls. Code in C that holds on is ended with its process: Triton then
    refuses requests at once, until the model is loaded again.
    """
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return
    armed = [True]

    def interrupt(*_: Any) -> None:
        if armed[0]:
            armed[0] = False
            raise TimedOut

    before = signal.signal(signal.SIGALRM, interrupt)
    faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        try:
            yield
        finally:  # it may be interrupted as well, once
            armed[0] = False
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def main() -> None:
    """Answer what the process that started this one asks: first the step, then one request after another."""
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the user's code may print
    settings = pickle.load(asked)  # noqa: S301 - from our own process
    sys.path[:0] = [*settings.pop("path"), str(Path(__file__).parent / CODE)]
    said: Any
    try:
        step = Step(**settings)
        said = [[(each.name, each.dtype, each.dims) for each in side] for side in (step.inputs, step.outputs)]
    except StepError as error:
        said = str(error)
    while True:
        pickle.dump(said, answers)
        answers.flush()
        try:
            arrays, batching = pickle.load(asked)  # noqa: S301
        except EOFError:
            return
        try:
            said = step.answer(arrays, batching=batching)
        except StepError as error:
            said = str(error)


if __name__ == "__main__":
    main()
