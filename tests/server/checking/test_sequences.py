"""The sequences that the local server can answer."""

import pytest

from modelrepo.generator.triton import pbtxt
from modelrepo.server.checking import sequences
from tests.generator.verification.test_sequences import FLOATS, config


@pytest.mark.parametrize(
    ("more", "control", "told"),
    [
        ('state { input_name: "a" }', f"kind: CONTROL_SEQUENCE_START {FLOATS}", "no implicit state"),
        ("", "kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING", "correlation IDs of type TYPE_STRING"),
    ],
)
def test_what_the_local_server_lacks_is_told(more: str, control: str, told: str) -> None:
    assert told in sequences.unservable(config(more, control=control))
    assert not sequences.unservable(config())


def test_a_sequence_may_idle_while_the_source_is_asked() -> None:
    text = sequences.patient(pbtxt.to_text(config("max_sequence_idle_microseconds: 1")))
    assert pbtxt.parse(text, "it").sequence_batching.max_sequence_idle_microseconds == sequences.IDLE_MICROSECONDS
