"""Plan headers: reading them, and checking that the target release will load the plan. The files are made here."""

from collections.abc import Callable
from pathlib import Path

import pytest

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.tensorrt import header
from modelrepo.generator.tensorrt.header import PlanHeader
from tests.plans import header as written
from tests.plans import spec

FILES = {
    "empty": b"",
    "a plan of TensorRT-RTX": b"vtrt" + bytes(24) + b"more",
    "metadata before the plan": (120).to_bytes(4, "little") + b'{"names": ["cat"]}' + written(10, 14, 1, 48),
    "an ONNX model": b"\x08\x0a\x12\x07pytorch" + bytes(40),
    "two bytes": b"ft",
    "a header that breaks off": written(10, 14, 1, 48)[:20],
    "an unknown form": written(10, 14, 1, 48)[:4] + b"\x01" + written(10, 14, 1, 48)[5:],
}


def test_the_version_is_read_from_a_plan(tmp_path: Path) -> None:
    plan = tmp_path / "model.plan"
    plan.write_bytes(written(10, 16, 1, 11) + b"weights")
    assert header.read(plan) == PlanHeader((10, 16, 1, 11))
    assert header.read(plan).version == "10.16.1.11"


def test_the_error_for_a_file_that_is_not_a_plan_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = []
    for name, content in FILES.items():
        Path("model.plan").write_bytes(content)
        with pytest.raises(ConversionError) as raised:
            header.read(Path("model.plan"))
        lines.append(f"{name}:\n  {raised.value}\n")
    golden("messages/tensorrt/plan-headers.txt", "".join(lines))


@pytest.mark.parametrize(
    ("release", "version", "compatible", "loads"),
    [
        ("25.12", (10, 14, 1, 48), False, True),
        ("25.12", (10, 14, 1, 7), False, True),  # the hint knows three numbers
        ("25.12", (10, 13, 3, 9), False, False),
        ("25.12", (10, 13, 3, 9), True, True),  # built by an older one, which it may be
        ("25.12", (11, 0, 0, 1), True, False),  # never by a newer one
        ("26.03", (10, 16, 9, 1), False, True),  # only known as 10.16
        ("26.01", (10, 15, 0, 0), False, True),  # only known as 10
        ("26.01", (11, 1, 0, 0), False, False),
    ],
)
def test_a_plan_belongs_to_the_version_that_serves_it(
    release: str, version: tuple[int, int, int, int], compatible: bool, loads: bool
) -> None:
    wanted = spec(release, version_compatible=compatible)
    if loads:
        header.check(PlanHeader(version), wanted)
    else:
        with pytest.raises(ConversionError, match=r"was built by TensorRT [\d.]+, but nvcr.io/\S+ serves with "):
            header.check(PlanHeader(version), wanted)


def test_what_the_image_itself_says_counts_more_than_the_hint() -> None:
    header.check(PlanHeader((10, 14, 2, 1)), spec("25.12"), "10.14.2.1")
    with pytest.raises(ConversionError, match=r"TensorRT 10.14.1.48, but .* serves with 10.14.2.1"):
        header.check(PlanHeader((10, 14, 1, 48)), spec("25.12"), "10.14.2.1")
