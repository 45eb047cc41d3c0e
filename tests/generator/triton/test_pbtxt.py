"""Configurations that can't be parsed."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from modelrepo.generator.errors import OptionError
from modelrepo.generator.triton import pbtxt

NOT_UTF8 = "input { data_type: \udcf3 }"


def test_a_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(OptionError, match=r"it is not a ModelConfig: a name in it is not UTF-8"):
        pbtxt.parse(NOT_UTF8, "it")


def test_protobuf_itself_fails_on_it() -> None:
    with pytest.raises(SystemError):
        text_format.Parse(NOT_UTF8, model_config_pb2.ModelConfig())
