"""Functions of a user's, as steps: fine ones, and ones with each fault."""

import time
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Scored(NamedTuple):
    scores: Annotated[NDArray[np.float32], "[n]"]
    text: str


def scored(x: Annotated[NDArray[np.float32], "[n]"], fault: str, by: float, offset: float = 0.0) -> Scored:
    """Return x times by, and the name of the fault that was asked for."""
    answers = {
        "type": Scored(x.astype("float64"), fault),
        "shape": Scored(x[:1], fault),
        "number": (x, 3),
        "count": (x, fault, fault),
        "none": None,
    }
    if fault in answers:
        return answers[fault]  # type: ignore[return-value]
    match fault:
        case "raise":
            raise ValueError("no such row\nin the table")
        case "exit":
            raise SystemExit(3)
        case "hang":
            time.sleep(100)
        case "loop":
            while True:
                pass
        case "never":
            while True:
                try:
                    time.sleep(100)
                except BaseException:
                    continue
        case "print":
            print("a line")
    return Scored((x * by + offset).astype(np.float32), "é" + fault)


def totals(x: Annotated[NDArray[np.float32], "[batch, 3]"]) -> Annotated[NDArray[np.float32], "total=[batch]"]:
    """Return the sums of rows; it refuses batches with a negative number."""
    if (x < 0).any():
        raise ValueError("negative")
    return x.sum(1)  # type: ignore[no-any-return]


def resized(picture: Annotated[NDArray[np.uint8], "[h, w]"]) -> Annotated[NDArray[np.uint8], "[h, ?]"]:
    return picture[:, ::2]


def raw(data: bytes, words: list[str], flag: bool, count: int) -> tuple[bytes, list[str], bool, int]:
    return data, words[::-1], not flag, count + 1


def no_annotation(x) -> str:  # type: ignore[no-untyped-def]
    return str(x)


def no_shape(x: NDArray[np.float32]) -> str:
    return str(x)


def no_result(x: str):  # type: ignore[no-untyped-def]
    return x


def wrong_type(x: Annotated[np.ndarray, "float[3]"]) -> str:
    return str(x)


def wrong_size(x: Annotated[np.ndarray, "float32[-1]"]) -> str:
    return str(x)


def wrong_kind(x: dict[str, int]) -> str:
    return str(x)


def many(*x: str) -> str:
    return str(x)


NUMBER = 3
