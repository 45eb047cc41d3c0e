"""The releases of Triton: the default, and those of which little is known."""

import pytest

from modelrepo.generator.triton.releases import NEWEST, RELEASES, release_named
from tests.conftest import PROJECT, Generate

UNKNOWN = [name for name, release in RELEASES.items() if release.onnxruntime is None]


def test_the_default_is_the_newest_whose_onnx_runtime_is_known() -> None:
    known = [name for name, release in RELEASES.items() if release.onnxruntime]
    assert known[0] == max(known) == NEWEST
    assert list(RELEASES) == sorted(RELEASES, reverse=True)


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_onnx_runtime_has_the_bounds_of_the_newest_known_one(name: str) -> None:
    release, newest = release_named(name), release_named(NEWEST)
    assert (release.max_opset, release.max_ir, release.bounds_of) == (newest.max_opset, newest.max_ir, NEWEST)
    assert not newest.cautions
    assert release.min_driver >= newest.min_driver
    assert release.image.endswith(f":{name}-py3")


def test_a_model_for_a_release_with_an_unknown_onnx_runtime_is_published_with_a_warning(generate: Generate) -> None:
    model = f"onnx:{PROJECT / 'tests/data/published_before/linear.onnx'}"
    command = ("--model", model, "--target-release", UNKNOWN[0], "--json", "-q", "--client-dir", "none")
    outcome = generate(*command, "--backends", "onnx,tensorrt", "--live-check", "off")
    assert [row["status"] for row in outcome.report["results"]] == ["published", "deferred"], outcome.err
    warning = (
        f"linear: the ONNX Runtime of Triton {UNKNOWN[0]} is not known: opset and IR are limited to those of {NEWEST}"
    )
    assert warning in outcome.err


def test_a_refusal_says_whose_bounds_it_applies(generate: Generate) -> None:
    outcome = generate("--model", "resnet18", "--target-release", UNKNOWN[0], "--opset", "30")
    assert outcome.code == 2
    assert f"the ONNX Runtime of Triton {UNKNOWN[0]} is not known, that of {NEWEST} reads up to opset" in outcome.err
