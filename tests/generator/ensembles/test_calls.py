"""What a function that calls models may do: declared ones, in batches that they take, and named in errors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.ensembles.calling import callee, refuse_undeclared
from modelrepo.generator.ensembles.member import Member
from modelrepo.generator.ensembles.reference import Pipeline, Stage
from modelrepo.generator.ensembles.step_runner import Callee, Calls, StepError
from modelrepo.generator.errors import OptionError
from modelrepo.generator.repository.lifecycle import pins
from modelrepo.generator.specs.ensembles import Step
from modelrepo.generator.triton import pbtxt

SMALL = Callee("small", "digits_small", 3, 4, {"x": "float32"}, {"y": "float32"})
WORDS = Callee("words", "words", 1, 0, {"text": "string"}, {"label": "string"})
BATCH = np.arange(18, dtype=np.float32).reshape(9, 2)


class Server:
    """Answers twice the numbers, and notes the batches that it was asked."""

    def __init__(self, fault: str = "") -> None:
        self.fault, self.asked = fault, list[tuple[str, int, int]]()

    def __call__(self, model: str, version: int, arrays: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, Any]:
        if self.fault:
            raise StepError(self.fault)
        (array,) = arrays.values()
        self.asked.append((model, version, len(array)))
        return {outputs[0]: np.array([b"yes", b"\xff"], object) if model == "words" else 2 * array}


def test_a_batch_is_split_as_the_model_takes_it() -> None:
    server = Server()
    call = Calls([SMALL], server, batched=True)
    np.testing.assert_array_equal(call("small", x=BATCH)["y"], 2 * BATCH)
    assert server.asked == [("digits_small", 3, 4), ("digits_small", 3, 4), ("digits_small", 3, 1)]


def test_a_function_of_samples_calls_with_samples() -> None:
    server = Server()
    call = Calls([SMALL], server, batched=False)
    np.testing.assert_array_equal(call("small", x=BATCH[0])["y"], 2 * BATCH[0])
    assert server.asked == [("digits_small", 3, 1)]


def test_strings_are_texts_as_far_as_they_are_utf8() -> None:
    call = Calls([WORDS], Server(), batched=True)
    assert call("words", text=np.array(["a", "b"]))["label"].tolist() == ["yes", b"\xff"]


@pytest.mark.parametrize(
    ("model", "arrays", "said"),
    [
        ("huge", {"x": BATCH}, "calls 'huge', which is not one of its members: small"),
        ("small", {"z": BATCH}, "small (digits_small): called with z, its inputs are x"),
        ("small", {}, "small (digits_small): called with nothing, its inputs are x"),
        ("small", {"x": BATCH.astype(np.float64)}, "small (digits_small): input 'x' is float64, expected float32"),
        ("small", {"x": np.float32(1)}, "small (digits_small): called with arrays that are not one batch: x []"),
    ],
)
def test_a_wrong_call_is_told_with_the_model(model: str, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(StepError) as caught:
        Calls([SMALL], Server(), batched=True)(model, **arrays)
    assert str(caught.value) == said


def test_the_fault_of_a_model_names_it() -> None:
    with pytest.raises(StepError, match=r"small \(digits_small\): it is not ready"):
        Calls([SMALL], Server("it is not ready"), batched=True)("small", x=BATCH)


SOURCE = """
def decide(ask, x):
    if x[0]:
        return ask("small", x=x)
    return ask(NAME, x=x), ask("large", x=x)
"""


def refusal(tmp_path: Path, members: Sequence[str]) -> str:
    file = tmp_path / "rules.py"
    file.write_text(SOURCE)
    try:
        refuse_undeclared(Step("bls", "bls:rules:decide"), {"rules.py": file}, members)
    except OptionError as error:
        return error.message
    return ""


def test_a_call_of_an_undeclared_model_is_seen_where_it_is_written(tmp_path: Path) -> None:
    assert refusal(tmp_path, ["small"]) == "step 'bls': rules:5 calls 'large', which is not one of its members: small"
    assert refusal(tmp_path, ["small", "large"]) == ""


def test_a_file_that_python_can_not_read_is_left_to_the_import(tmp_path: Path) -> None:
    file = tmp_path / "rules.py"
    file.write_text("def decide(:")
    refuse_undeclared(Step("bls", "bls:rules:decide"), {"rules.py": file}, [])


def test_a_callee_is_what_its_configuration_says() -> None:
    config = pbtxt.parse(
        'name: "a"\nmax_batch_size: 8\ninput { name: "x" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }\n'
        'output { name: "y" data_type: TYPE_FP16 dims: 5 }\noutput { name: "z" data_type: TYPE_BF16 dims: 5 }',
        "a test",
    )
    member: Any = SimpleNamespace(name="a", version=2, config=config)
    assert callee("small", member, ["y"]) == Callee("small", "a", 2, 8, {"x": "uint8"}, {"y": "float16"})
    with pytest.raises(OptionError, match="has bfloat16"):
        callee("small", member)


def test_what_a_model_calls_is_pinned() -> None:
    text = 'name: "e__bls"\nparameters { key: "calls" value { string_value: "small@1,net.v1@12,@3,x@0" } }'
    assert [(pin.model, pin.version) for pin in pins.of_config("e__bls", text)] == [("small", 1), ("net.v1", 12)]
    foreign = 'name: "e"\nparameters { key: "calls" value { string_value: "seven" } }'
    assert pins.of_config("e", foreign) == []


def test_texts_of_a_pipeline_are_what_a_client_reads() -> None:
    config = pbtxt.parse('name: "a"\noutput { name: "y" data_type: TYPE_STRING dims: 2 }', "a test")
    words = Member("a", 1, config, lambda arrays: {"y": np.array([b"caf\xc3\xa9", "x"], object)})
    pipeline = Pipeline([Stage("a", words, {}, {"y": "y"})], ["y"])
    assert pipeline({})["y"].tolist() == ["café", "x"]
