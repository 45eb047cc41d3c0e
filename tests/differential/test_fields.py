"""Every field of ModelConfig is tried: by a case that is kept by hand, and by random ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
from google.protobuf import text_format
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2 as proto

from modelrepo.generator.lint.parser import Node
from modelrepo.generator.lint.text import read
from tests.differential.corpus import cases
from tests.differential.drawing import reach, ways

FIELDS = {".".join(field.name for field in way) for way in ways()}


def written(node: Node, around: str = "") -> Iterator[str]:
    """Yield each field that a text has."""
    for name, values in node.fields.items():
        yield f"{around}{name}"
        for value in values:
            yield from written(value, f"{around}{name}.")


def test_a_case_that_is_kept_has_each_field() -> None:
    models = [model for case in cases() for model in (case, *case.others.values())]
    found = {name for model in models for name in written(read(Path("config.pbtxt"), model.config or "").tree)}
    assert FIELDS - found == set()


def test_there_is_a_way_to_each_field() -> None:
    messages, seen = [proto.ModelConfig.DESCRIPTOR], set[str]()
    while messages:
        message = messages.pop()
        if message.full_name not in seen:
            seen.add(message.full_name)
            messages += [field.message_type for field in message.fields if field.message_type]
    reached = {way[-1].full_name for way in ways()}
    pool = proto.DESCRIPTOR.pool
    assert reached == {field.full_name for name in seen for field in pool.FindMessageTypeByName(name).fields}


@hypothesis.settings(max_examples=5, deadline=None, database=None)
@hypothesis.given(st.data())
def test_random_models_reach_each_field(data: Any) -> None:
    for way in ways():
        message: Any = proto.ModelConfig()
        reach(data.draw, message, way)
        tree = read(Path("config.pbtxt"), text_format.MessageToString(message)).tree
        around = ".".join(
            field.name for field in way[:-1]
        )  # the field itself may have its default, which is not written
        assert around in {"", *written(tree)}
