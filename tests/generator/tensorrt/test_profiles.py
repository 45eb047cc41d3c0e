"""Profiles: the defaults, the user's ranges, and what is refused before any builder runs."""

from collections.abc import Callable

import pytest

from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.tensors import Signature, TensorSpec
from modelrepo.generator.tensorrt.profiles import Profile, derive, validate

Y = TensorSpec("y", "float32", ("batch", 3))
IMAGE = Signature((TensorSpec("image", "float32", ("batch", 3, 8, 8)),), (Y,))
TEXT = Signature(
    (TensorSpec("ids", "int64", ("batch", "seq")), TensorSpec("mask", "int64", ("batch", "seq"))),
    (Y,),
)
FIXED = Signature((TensorSpec("image", "float32", (8, 3, 8, 8)),), (TensorSpec("y", "float32", (8, 3)),))
SEQ = {"seq": (16, 128, 512)}


def test_the_batch_goes_from_one_over_the_preferred_size_to_the_largest() -> None:
    assert derive(IMAGE, 16, (4, 8)) == (Profile({"image": ((1, 3, 8, 8), (8, 3, 8, 8), (16, 3, 8, 8))}),)
    assert derive(IMAGE, 16, ()) == derive(IMAGE, 16, (8,))
    assert derive(IMAGE, 1, ()) == (Profile({"image": ((1, 3, 8, 8),) * 3}),)


def test_other_dimensions_have_the_ranges_that_the_user_gives() -> None:
    (profile,) = derive(TEXT, 16, (8,), (SEQ,))
    assert profile.shapes["ids"] == ((1, 16), (8, 128), (16, 512))
    assert profile.shapes["mask"] == profile.shapes["ids"]


def test_several_profiles_may_each_have_a_batch_of_their_own() -> None:
    first, second = derive(TEXT, 16, (8,), (SEQ, {"batch": (1, 1, 1), "seq": (1, 64, 128)}))
    assert first.shapes["ids"][2] == (16, 512)
    assert second.shapes["ids"] == ((1, 1), (1, 64), (1, 128))


def test_a_model_of_fixed_shapes_has_no_profile() -> None:
    assert derive(FIXED, 0, ()) == ()
    validate((), FIXED, 0)


def test_a_batch_dimension_that_triton_does_not_fill_is_1_unless_a_range_sets_it() -> None:
    assert derive(IMAGE, 0, ())[0].shapes["image"][2] == (1, 3, 8, 8)
    assert derive(IMAGE, 0, (), ({"batch": (1, 2, 3)},))[0].shapes["image"][2] == (3, 3, 8, 8)


def profile(*bounds: tuple[int, ...], name: str = "image") -> tuple[Profile, ...]:
    smallest, tuned, largest = bounds
    return (Profile({name: (smallest, tuned, largest)}),)


REFUSED: dict[str, Callable[[], object]] = {
    "a dimension without a range": lambda: derive(TEXT, 16, ()),
    "no batch of 1": lambda: derive(IMAGE, 16, (), ({"batch": (4, 8, 16)},)),
    "an unknown dimension": lambda: derive(TEXT, 16, (), ({"sequence": (1, 2, 3), **SEQ},)),
    "a range of a fixed model": lambda: derive(FIXED, 0, (), ({"batch": (1, 2, 3)},)),
    "opt above max": lambda: derive(TEXT, 16, (), ({"seq": (16, 1024, 512)},)),
    "min above opt": lambda: derive(TEXT, 16, (), ({"seq": (200, 128, 512)},)),
    "a size of zero": lambda: derive(TEXT, 16, (), ({"seq": (0, 128, 512)},)),
    "a preferred batch above the largest": lambda: derive(IMAGE, 16, (32,)),
    "a batch below max_batch_size": lambda: derive(TEXT, 16, (), ({"batch": (1, 4, 8), **SEQ},)),
    "too many elements": lambda: derive(TEXT, 16, (), ({"seq": (1, 2, 2**28)},)),
    "an unknown input": lambda: validate(profile((1,), (1,), (1,), name="pixels"), IMAGE, 0),
    "no profile": lambda: validate((), IMAGE, 0),
    "an input without shapes": lambda: validate((Profile({}),), IMAGE, 0),
    "another size than the fixed one": lambda: validate(profile(*(((1, 1, 8, 8),) * 3)), IMAGE, 0),
    "another rank": lambda: validate(profile(*(((1, 3, 8),) * 3)), IMAGE, 0),
    "two ranges for one name": lambda: validate(
        (Profile({"ids": ((1, 1), (1, 2), (1, 3)), "mask": ((1, 1), (1, 2), (1, 4))}),), TEXT, 0
    ),
    "a name that tools misread": lambda: derive(Signature((TensorSpec("a,b", "float32", ("batch",)),), (Y,)), 4, ()),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_any_builder_runs(case: str) -> None:
    with pytest.raises(OptionError):
        REFUSED[case]()


def test_the_messages_name_the_dimension_and_the_flag(golden: Callable[[str, str], None]) -> None:
    lines = []
    for case, refused in REFUSED.items():
        with pytest.raises(OptionError) as raised:
            refused()
        lines.append(f"{case}:\n  {raised.value}\n")
    golden("messages/tensorrt/profiles.txt", "".join(lines))
