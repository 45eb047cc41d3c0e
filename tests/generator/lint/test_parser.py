"""Texts as Triton's parser reads them. All words and places were seen on Triton 2.51; `tests/differential` asks it."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from modelrepo.generator.lint.text import read

REFUSED = {
    "max_batch_size: 08": "1:18: Numbers starting with leading zero must be in octal.",
    "max_batch_size: 0x": '1:19: "0x" must be followed by hex digits.',
    "max_batch_size: 1e": '1:19: "e" must be followed by exponent.',
    "max_batch_size: 1.2.3": "1:20: Already saw decimal point or exponent; can't have another one.",
    "max_batch_size: 0x1.2": "1:20: Hex and octal numbers must be integers.",
    "max_batch_size: 1a": "1:18: Need space between number and identifier.",
    "max_batch_size: 1f": "1:17: Expected integer, got: 1f",
    "max_batch_size: 2147483648": "1:17: Integer out of range (2147483648)",
    "max_batch_size: -2147483649": "1:18: Integer out of range (2147483649)",
    'max_batch_size: "4"': '1:17: Expected integer, got: "4"',
    "max_batch_size 4": '1:16: Expected ":", found "4".',
    "max_batch_size: 4 max_batch_size: 4": '1:33: Non-repeated field "max_batch_size" is specified multiple times.',
    "max_batch_size: 4,,": "1:19: Expected identifier, got: ,",
    "Max_batch_size: 4": '1:15: Message type "inference.ModelConfig" has no field named "Max_batch_size".',
    "[foo.bar]: 1": '1:10: Extension "foo.bar" is not defined or is not an extension of "inference.ModelConfig".',
    "name.5: 1": "1:5: Need space between identifier and decimal point.",
    'name: "a\\q"': "1:10: Invalid escape sequence in string literal.",
    'name: "a\\x"': "1:11: Expected hex digits for escape sequence.",
    'name: "\\u12"': "1:12: Expected four hex digits for \\u escape sequence.",
    'name: "a\nb"': "1:9: String literals cannot cross line boundaries.",
    'name: "a': "1:9: Unexpected end of string.",
    "name: x": "1:7: Expected string, got: x",
    "\x01": "1:1: Invalid control characters encountered in text.",
    "\ufeffname: ''": "1:1: Interpreting non ascii codepoint 239.",
    "\t@": "1:9: Expected identifier, got: @",
    'platform: "é" @': "1:16: Expected identifier, got: @",
    "response_cache { enable: yes }": '1:30: Invalid value for boolean field "enable". Value: "yes".',
    "response_cache { enable: 2 }": "1:26: Integer out of range (2)",
    "response_cache {": "1:17: Expected identifier, got: ",
    "response_cache < }": '1:18: Expected ">", found "}".',
    'input { data_type: "TYPE_FP32" }': '1:20: Expected integer or identifier, got: "TYPE_FP32"',
    "input { data_type: TYPE_BYTES }": '1:31: Unknown enumeration value of "TYPE_BYTES" for field "data_type".',
    "input [ { } { } ]": '1:13: Expected ",", found "{".',
    "version_policy { all { } latest { } }": '1:33: Field "latest" is specified along with field "all", another member '
    'of oneof "policy_choice".',
    "sequence_batching { direct { minimum_slot_utilization: 0x1 } }": "1:56: Expect a decimal number, got: 0x1",
    "sequence_batching { direct { minimum_slot_utilization: X } }": "1:56: Expected double, got: x",
}
READ = (
    "max_batch_size: - # a comment\n 1",
    "max_batch_size: 0x10 name: '' \"x\" 'y'",
    "max_batch_size: 0 max_batch_size: 4",
    'name: "\\U0001F600\\x41\\101\\n"',
    "input [ { name: 'x' data_type: 11 dims: [ 1, -1 ] dims: 3 }, < data_type: -7 > ], output [ ];",
    "metric_tags { } metric_tags [ { key: 'a' }, { value: 'b' key: 'a' } ]",
    "dynamic_batching { priority_queue_policy { key: 07 value { max_queue_size: 4294967295 } } }",
    "model_metrics { metric_control { histogram_options { buckets: [ 1, .5, 1e400, -inf, nan, 2f ] } } }",
    "response_cache { enable: t } version_policy: { all < > }",
)


@pytest.mark.parametrize("text", REFUSED)
def test_a_text_is_refused_in_tritons_words(text: str) -> None:
    config = read(Path("config.pbtxt"), text)
    assert config.triton_error == f"Error parsing text-format inference.ModelConfig: {REFUSED[text]}"


@pytest.mark.parametrize("text", READ)
def test_a_text_is_read(text: str) -> None:
    message = read(Path("config.pbtxt"), text).message
    python = text.replace("- # a comment\n 1", "-1")  # of which protobuf for Python makes nothing
    assert str(message) == str(text_format.Parse(python, model_config_pb2.ModelConfig()))


VALUES = {
    r"\ud83d\ude00 \U0000d83d\ude00": "\U0001f600 \U0001f600",
    r"\ud83d\u0041": "\ufffd\ufffd\ufffdA",
    r"\U00110000\U001fffff": r"\U00110000\U001fffff",
    r"\101\1011\x414\x4": "AA1A4\x04",
}


@pytest.mark.parametrize("text", VALUES)
def test_escapes_have_the_values_that_triton_has(text: str) -> None:
    assert read(Path("config.pbtxt"), f'name: "{text}"').message.name == VALUES[text]


def test_bytes_that_are_no_text_are_read() -> None:
    config = read(Path("config.pbtxt"), b'name: "\xff"  # \xfe'.decode("utf-8", "surrogateescape"))
    assert config.message.name == "\ufffd"


def test_places_are_those_of_an_editor() -> None:
    config = read(Path("config.pbtxt"), '\tplatform: "é"  @')
    assert config.error_at == (1, 17)
    assert ": 1:25: " in config.triton_error


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_protobuf_for_python_still_differs() -> None:
    """Without this, Triton's parser need not be our own."""
    parse = text_format.Parse
    with pytest.raises(text_format.ParseError):
        parse("max_batch_size: - 1", model_config_pb2.ModelConfig())
    assert parse('name: "\\q"', model_config_pb2.ModelConfig()).name
