"""Wiring: names are found, guessed only where one thing can be meant, and every mistake names both ends."""

from collections.abc import Mapping
from typing import Any

import pytest

from modelrepo.generator.ensembles.config import config_of
from modelrepo.generator.ensembles.flat import flat
from modelrepo.generator.ensembles.member import Member
from modelrepo.generator.ensembles.reference import Pipeline, Stage
from modelrepo.generator.ensembles.wiring import Wiring, wire
from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.ensembles import EnsembleSpec, Step

ENDS = Mapping[str, tuple[str, list[int]]]


def member(name: str, inputs: ENDS, outputs: ENDS, batch: int = 8, optional: tuple[str, ...] = ()) -> Member:
    from tritonclient.grpc import model_config_pb2

    config = model_config_pb2.ModelConfig(name=name, backend="onnxruntime", max_batch_size=batch)
    for listed, ends in ((config.input, inputs), (config.output, outputs)):
        for port, (kind, dims) in ends.items():
            listed.add(name=port, data_type=model_config_pb2.DataType.Value(f"TYPE_{kind}"), dims=dims)
    for tensor in config.input:
        tensor.optional = tensor.name in optional
    return Member(name, 1, config, lambda arrays: {port: arrays[next(iter(inputs))] for port in outputs})


FIRST = member("first", {"x": ("FP32", [4])}, {"y": ("FP32", [3])})
SECOND = member("second", {"y": ("FP32", [3])}, {"scores": ("FP32", [5])})
SAME = member("same", {"x": ("FP32", [4])}, {"x2": ("FP32", [4])})


def wired(members: Mapping[str, Member], more: Mapping[str, Any] | None = None, **inputs: Mapping[str, str]) -> Wiring:
    """Wire an ensemble of these steps; ``inputs`` has what a step writes of its inputs."""
    steps = tuple(Step(name, each.name, inputs.get(name, {})) for name, each in members.items())
    return wire(EnsembleSpec("e", steps, **(more or {})), members)


def maps(wiring: Wiring) -> dict[str, tuple[Any, Any]]:
    return {stage.name: (dict(stage.inputs), dict(stage.outputs)) for stage in wiring.stages}


def test_steps_are_joined_by_the_names_of_their_tensors() -> None:
    found = wired({"a": FIRST, "b": SECOND})
    assert maps(found) == {"a": ({"x": "x"}, {"y": "a.y"}), "b": ({"y": "a.y"}, {"scores": "scores"})}
    assert (list(found.inputs), list(found.outputs), found.max_batch_size) == (["x"], ["scores"], 8)


def test_steps_are_joined_by_the_only_output_that_fits_if_no_name_does() -> None:
    other = member("other", {"features": ("FP32", [3])}, {"out": ("INT64", [1])})
    assert maps(wired({"a": FIRST, "b": other}))["b"][0] == {"features": "a.y"}


def test_a_chain_of_one_type_and_shape_goes_on_from_what_no_step_takes_yet() -> None:
    two, three = (member(name, {f"{name}_in": ("FP32", [4])}, {"z": ("FP32", [4])}) for name in ("two", "three"))
    found = maps(wired({"a": SAME, "b": two, "c": three}))
    assert found["b"][0] == {"two_in": "a.x2"}
    assert found["c"][0] == {"three_in": "b.z"}


def test_members_that_take_the_same_input_share_it() -> None:
    found = wired({"a": FIRST, "b": FIRST})
    assert maps(found) == {"a": ({"x": "x"}, {"y": "a_y"}), "b": ({"x": "x"}, {"y": "b_y"})}
    assert list(found.outputs) == ["a_y", "b_y"]


def test_steps_may_be_in_any_order_where_inputs_are_written() -> None:
    found = wired({"b": SECOND, "a": FIRST}, b={"y": "a.y"})
    assert [stage.name for stage in found.stages] == ["a", "b"]


def test_outputs_have_the_names_that_the_user_gives_them() -> None:
    found = wired({"a": FIRST, "b": SECOND}, {"outputs": {"hidden": "a.y", "probabilities": "scores"}})
    assert maps(found)["b"][0] == {"y": "hidden"}
    assert list(found.outputs) == ["hidden", "probabilities"]


def test_an_optional_input_is_left_out_unless_an_output_has_its_name() -> None:
    more = member("more", {"y": ("FP32", [3]), "bias": ("FP32", [3])}, {"z": ("FP32", [3])}, optional=("bias",))
    assert maps(wired({"a": FIRST, "b": more}))["b"][0] == {"y": "a.y"}


def test_a_model_without_batches_takes_the_whole_batch_as_its_first_dimension() -> None:
    whole = member("whole", {"y": ("FP32", [-1, 3])}, {"z": ("FP32", [-1, 2])}, batch=0)
    found = wired({"a": FIRST, "b": whole})
    config = config_of(EnsembleSpec("e", ()), found).message
    assert (config.max_batch_size, [*config.input[0].dims], [*config.output[0].dims]) == (8, [4], [2])


def test_a_model_of_a_fixed_batch_leaves_the_ensemble_without_batches() -> None:
    fixed = member("fixed", {"y": ("FP32", [1, 3])}, {"z": ("FP32", [1, 2])}, batch=0)
    found = wired({"a": FIRST, "b": fixed})
    config = config_of(EnsembleSpec("e", ()), found).message
    assert (config.max_batch_size, [*config.input[0].dims], [*config.output[0].dims]) == (0, [-1, 4], [1, 2])
    assert found.notes == ("no batches: step 'b' takes or gives a fixed number of rows",)


def test_the_largest_batch_is_the_smallest_of_the_models() -> None:
    small = member("small", {"y": ("FP32", [3])}, {"z": ("FP32", [1])}, batch=2)
    assert wired({"a": FIRST, "b": small}).max_batch_size == 2


def test_a_step_that_is_an_ensemble_becomes_its_own_steps() -> None:
    inner = wired({"a": FIRST, "b": SECOND}, {"outputs": {"scores": "b.scores", "hidden": "a.y"}})
    whole = member("inner", {"x": ("FP32", [4])}, {"scores": ("FP32", [5]), "hidden": ("FP32", [3])})
    nested = Member("inner", 1, whole.config, Pipeline(inner.stages, tuple(inner.outputs)))
    last = member("last", {"scores": ("FP32", [5])}, {"label": ("INT64", [1])})
    found = flat(wired({"i": nested, "c": last}, {"outputs": {"label": "c.label"}}))
    assert maps(found) == {
        "i.a": ({"x": "x"}, {"y": "i.hidden"}),
        "i.b": ({"y": "i.hidden"}, {"scores": "i.scores"}),
        "c": ({"scores": "i.scores"}, {"label": "label"}),
    }


@pytest.mark.parametrize(
    ("members", "inputs", "told"),
    [
        (
            {"a": FIRST, "b": member("b", {"ids": ("INT64", [])}, {"z": ("FP32", [1])})},
            {"b": {"ids": "a.y"}},
            "step 'a' gives FP32 [-1, 3] as 'y', and step 'b' takes INT64 [-1] as 'ids'",
        ),
        (
            {"a": FIRST, "b": member("b", {"ids": ("INT64", [])}, {"z": ("FP32", [1])})},
            {},
            "step 'a' gives FP32 [-1, 3] as 'y', and step 'b' takes INT64 [-1] as 'ids': nothing connects them",
        ),
        (
            {"a": FIRST, "b": member("b", {"y": ("FP32", [2])}, {"z": ("FP32", [1])})},
            {"b": {"y": "a.y"}},
            "step 'a' gives FP32 [-1, 3] as 'y', and step 'b' takes FP32 [-1, 2] as 'y'",
        ),
        (
            {"a": FIRST, "b": member("b", {"x": ("FP64", [4])}, {"z": ("FP32", [1])})},
            {"b": {"x": "x"}},
            "step 'a' takes FP32 [-1, 4] as 'x', and step 'b' takes FP64 [-1, 4] as 'x' of the input 'x'",
        ),
        (
            {"a": FIRST, "b": FIRST, "c": SECOND},
            {},
            "step 'c' takes FP32 [-1, 3] as 'y', and 'a.y' and 'b.y' fit",
        ),
        (
            {"a": SAME, "b": member("b", {"x": ("FP32", [4])}, {"z": ("FP32", [4])})},
            {},
            "step 'b' takes FP32 [-1, 4] as 'x', and 'a.x2' and the input 'x' fit",
        ),
        (
            {"a": FIRST, "b": member("b", {"p": ("FP32", [3]), "q": ("FP32", [3])}, {"z": ("FP32", [4])})},
            {},
            "step 'a' gives FP32 [-1, 3] as 'y', and step 'b' takes FP32 [-1, 3] as 'p' and as 'q'",
        ),
        (
            {"a": SAME, "b": SAME},
            {"a": {"x": "b.x2"}, "b": {"x": "a.x2"}},
            "the steps are a circle: step 'a' takes 'b.x2' as 'x', and step 'b' takes 'a.x2' as 'x'",
        ),
        ({"a": FIRST, "b": SECOND}, {"b": {"y": "a.z"}}, "step 'b' takes 'a.z' as 'y', and step 'a' gives no 'z'"),
        ({"a": FIRST}, {"a": {"z": "x"}}, "step 'a': its model has no input 'z'"),
    ],
)
def test_a_mistake_names_both_ends(members: dict[str, Member], inputs: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError) as error:
        wired(members, None, **inputs)
    assert error.value.message == told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"outputs": {"y": "a.y"}}, "nothing takes what step 'b' gives"),
        ({"outputs": {"z": "z"}}, "the output 'z' can't be found: no step gives 'z'"),
        ({"outputs": {"x": "b.scores"}}, "'x' is the name of an input and of an output"),
        ({"outputs": {"p": "b.scores", "q": "scores"}}, "two outputs are 'scores', and Triton gives a tensor once"),
        ({"max_batch_size": 9}, "max_batch_size is 9, and step 'a' (first) takes at most 8"),
    ],
)
def test_what_an_ensemble_asks_for_in_vain_is_refused(more: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError) as error:
        wired({"a": FIRST, "b": SECOND}, more)
    assert error.value.message == told


def test_a_step_that_answers_another_shape_than_its_configuration_is_named() -> None:
    import numpy as np

    from modelrepo.generator.errors import VerificationError

    whole = Pipeline((Stage("a", FIRST, {"x": "x"}, {"y": "y"}),), ("y",))
    with pytest.raises(
        VerificationError, match=r"step 'a' \(first\) answers 'y' with FP32 \[2, 4\] instead of FP32 \[-1, 3\]"
    ):
        whole({"x": np.zeros((2, 4), np.float32)})


def test_the_configuration_names_the_option_that_asked_for_the_ensemble() -> None:
    """Who made it with an option has no table of modelrepo.toml to change."""
    found = wired({"a": FIRST})
    asked = config_of(EnsembleSpec("e", (), option="--with-decoding"), found).text(1)
    assert asked.startswith("# Generated by modelrepo from ensemble:e; made for --with-decoding: changes are lost")
    assert "; change it in [ensembles.e] of modelrepo.toml.\n" in config_of(EnsembleSpec("e", ()), found).text(1)
