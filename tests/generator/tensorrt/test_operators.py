"""The list of operators is that of a real parser: TensorRT-RTX has the same one, without a GPU."""

import platform
import sys

import pytest

from modelrepo.generator.tensorrt.operators import CONDITIONAL, LISTED, RECENT, version_of

# What the parser of TensorRT-RTX 1.7 does not have, although TensorRT's lists it: a plugin.
NOT_IN_RTX = {"DeformConv"}
# What it has, and the list for 10.15 does not yet.
NEWER = {"CausalConvWithState", "LinearAttention", "Swish"}


@pytest.mark.tensorrt_rtx
@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="there is no wheel")
def test_the_list_is_that_of_the_parser() -> None:
    import onnx
    import tensorrt_rtx

    logger = tensorrt_rtx.Logger(tensorrt_rtx.Logger.ERROR)
    parser = tensorrt_rtx.OnnxParser(tensorrt_rtx.Builder(logger).create_network(), logger)
    names = LISTED | {each.name for each in onnx.defs.get_all_schemas_with_history() if not each.domain}
    known = {name for name in names if parser.supports_operator(name)}
    assert set(LISTED - known) == NOT_IN_RTX
    assert known - LISTED == NEWER


def test_the_parts_of_the_list_belong_to_it() -> None:
    assert RECENT < LISTED
    assert CONDITIONAL < LISTED


def test_a_version_is_two_numbers() -> None:
    assert [version_of(text) for text in ("10.15.1", "11.0", "10.x", "", None)] == [(10, 15), (11, 0), None, None, None]
