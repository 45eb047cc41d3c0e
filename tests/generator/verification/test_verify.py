"""Verification: what passes, what never passes, and what it finds out about batching."""

import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.errors import InputRefused, OptionError, VerificationError
from modelrepo.generator.specs.options import Tolerance
from modelrepo.generator.specs.tensors import Arrays, Domain, Signature, TensorSpec
from modelrepo.generator.verification import datasets, inputs, verify
from modelrepo.generator.verification.comparison import INT8
from modelrepo.generator.verification.probing import Arbitrary, Probe
from tests.conftest import Generate

X = TensorSpec("x", "float32", ("batch", 4))
Y = TensorSpec("y", "float32", ("batch", 4))
SIGNATURE = Signature((X,), (Y,))


def identity(arrays: Arrays) -> dict[str, Any]:
    return {"y": arrays["x"].copy()}


def check(source: verify.Run, candidate: verify.Run, **options: Any) -> Any:
    return verify.verify(source, candidate, SIGNATURE, **{"max_batch_size": 8, "seed": 0, **options})


def test_equal_models_pass_on_every_family_at_every_batch_size() -> None:
    asked: list[int] = []

    def counting(arrays: Arrays) -> dict[str, Any]:
        asked.append(len(arrays["x"]))
        return identity(arrays)

    found = check(identity, counting)
    assert found.passed
    assert found.batch_invariant
    assert (found.max_abs_diff, found.max_rel_diff, found.top1) == (0.0, 0.0, 1.0)
    assert set(asked) == {1, 2, 3, 8}
    assert found.cases >= len(inputs.FAMILIES) * 4


@pytest.mark.parametrize(("largest", "sizes"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (16, (1, 2, 3, 16))])
def test_batch_sizes_are_one_two_odd_and_the_largest(largest: int, sizes: tuple[int, ...]) -> None:
    assert inputs.batch_sizes(largest) == sizes


def test_nan_in_the_sources_answers_is_reported_as_the_sources_fault() -> None:
    def broken(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.full_like(arrays["x"], np.nan)}

    with pytest.raises(verify.SourceFault, match="the source model itself answers NaN"):
        check(broken, identity)


def test_the_message_names_output_input_batch_and_distance() -> None:
    def wrong_at_odd_batches(arrays: Arrays) -> dict[str, Any]:
        answer = arrays["x"].copy()
        if len(answer) == 3:
            answer[1, 2] += 0.5
        return {"y": answer}

    with pytest.raises(VerificationError) as raised:
        check(identity, wrong_at_odd_batches)
    assert "output 'y' differs by 0.5 (limit " in raised.value.message
    assert "on input 'random 2' at batch 3, index [2]" in raised.value.message


def test_the_error_says_if_the_sources_own_answer_depends_on_rounding() -> None:
    def chaotic(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.sin(np.float32(3e7) * arrays["x"])}

    def rounded_otherwise(arrays: Arrays) -> dict[str, Any]:
        return chaotic({"x": arrays["x"] * np.float32(1 + 2e-7)})

    with pytest.raises(VerificationError) as raised:
        check(chaotic, rounded_otherwise)
    assert "differs by" in raised.value.message
    assert "the source's own answer changes by" in raised.value.message
    assert "trained weights" in str(raised.value.hint)


@pytest.mark.parametrize("wrong", [0.5, np.nan])
def test_differences_beyond_rounding_are_errors_of_the_conversion(wrong: float) -> None:
    """Rounding alone also moves these answers beyond the limit, but far less than they are wrong."""

    def sensitive(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.sin(np.float32(2e4) * arrays["x"])}

    def wrong_besides(arrays: Arrays) -> dict[str, Any]:
        return {"y": sensitive(arrays)["y"] + np.float32(wrong)}

    with pytest.raises(VerificationError) as raised:
        check(sensitive, wrong_besides)
    assert "own answer changes" not in raised.value.message
    assert "The conversion changed the model's answers" in str(raised.value.hint)


def test_a_source_that_refuses_rounded_inputs_explains_nothing() -> None:
    seen: set[bytes] = set()

    def refuses(arrays: Arrays) -> dict[str, Any]:
        if seen and arrays["x"].tobytes() not in seen:
            raise InputRefused("the source model fails on other inputs")
        return identity(arrays)

    def wrong(arrays: Arrays) -> dict[str, Any]:
        seen.update(arrays["x"][[row]].tobytes() for row in range(len(arrays["x"])))
        return {"y": arrays["x"] + 1}

    with pytest.raises(VerificationError, match="output 'y' differs by"):
        check(refuses, wrong)


@pytest.mark.parametrize("scale", [1e-14, 1.0, 1e6])
def test_the_limit_follows_the_magnitude_of_the_answers(scale: float) -> None:
    def scaled(factor: float) -> verify.Run:
        return lambda arrays: {"y": arrays["x"] * np.float32(scale * factor)}

    assert check(scaled(1.0), scaled(1.0001)).passed
    with pytest.raises(VerificationError):
        check(scaled(1.0), scaled(1.01))
    assert check(scaled(1.0), scaled(1.01), tolerance=Tolerance(0.1)).passed


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_candidate_that_answers_nan_or_inf_never_passes(value: float) -> None:
    def broken(arrays: Arrays) -> dict[str, Any]:
        answer = arrays["x"].copy()
        answer[0, 0] = value
        return {"y": answer}

    with pytest.raises(VerificationError, match="differs by inf"):
        check(identity, broken, tolerance=Tolerance(1e9, 1e9))


@pytest.mark.parametrize("batch", [1, 8])
def test_inputs_that_the_source_answers_with_nan_are_left_out_and_counted(batch: int) -> None:
    def broken_on_large(arrays: Arrays) -> dict[str, Any]:
        rows = arrays["x"].max(axis=1, keepdims=True)
        return {"y": np.where(rows > 9, np.float32("nan"), arrays["x"])}

    found = check(broken_on_large, identity, max_batch_size=batch)
    (note,) = found.notes
    assert re.match(r"1 of \d+ generated inputs are left out; .* answers NaN .* on input 'large \(x10\)'", note)

    def wrong(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.abs(arrays["x"])}

    with pytest.raises(VerificationError, match="differs"):
        check(broken_on_large, wrong, max_batch_size=batch)


def test_inputs_that_a_source_with_a_known_domain_refuses_are_left_out_and_counted() -> None:
    def refusing(arrays: Arrays) -> dict[str, Any]:
        if not arrays["x"].any(axis=1).all():
            raise InputRefused("the source model fails on x: no row of zeros")
        return identity(arrays)

    (note,) = check(refusing, identity).notes
    assert re.match("1 of 8 generated inputs are left out; .* no row of zeros, on input 'zeros'", note)


def test_inputs_for_which_rounding_decides_are_left_out_if_most_are_steady() -> None:
    def stepping(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.where(arrays["x"] > 0.1, np.float32(5), arrays["x"])}

    def rounded_otherwise(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.where(arrays["x"] > np.nextafter(np.float32(0.1), np.float32(1)), 5, arrays["x"])}

    edge = np.nextafter(np.float32(0.1), np.float32(1))
    pool = inputs.Pool({"x": np.full((1, 4), edge)}, ("sample",))
    found = check(stepping, rounded_otherwise, samples=[pool])
    assert found.notes[0].startswith("1 inputs are left out, since rounding decides the source's answer")


def test_denormal_numbers_may_count_as_zero() -> None:
    """TensorFlow's kernels flush them, and ONNX Runtime's do not."""

    def sign(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.sign(arrays["x"])}

    def flushing(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.sign(np.where(np.abs(arrays["x"]) < np.finfo("f4").tiny, np.float32(0), arrays["x"]))}

    pool = inputs.Pool({"x": np.full((1, 4), 1e-40, "f4")}, ("sample",))
    assert check(sign, flushing, samples=[pool]).passed
    with pytest.raises(VerificationError, match="differs"):
        check(sign, lambda arrays: {"y": np.sign(np.where(np.abs(arrays["x"]) < 0.1, 0, arrays["x"])).astype("f4")})


def test_a_small_answer_of_a_known_range_is_judged_on_the_answers_to_other_inputs() -> None:
    """The map of a text detector is 1e-7 nearly everywhere on noise, and 1 on text."""

    def tiny(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.float32(2.5e-7) + np.float32(1e-9) * np.tanh(arrays["x"])}

    def tiny_rounded(arrays: Arrays) -> dict[str, Any]:
        return {"y": tiny(arrays)["y"] + np.float32(1.2e-7)}

    with pytest.raises(VerificationError, match="differs"):
        check(tiny, tiny_rounded, max_batch_size=1)
    assert check(tiny, tiny_rounded, max_batch_size=1, ranges={"y": 1.0}).passed


def test_a_wrong_answer_of_a_known_range_is_noticed_where_the_answers_are_large() -> None:
    def sigmoid(arrays: Arrays) -> dict[str, Any]:
        return {"y": 1 / (1 + np.exp(-arrays["x"]))}

    def flatter(arrays: Arrays) -> dict[str, Any]:
        return {"y": 1 / (1 + np.exp(-np.float32(0.99) * arrays["x"]))}

    with pytest.raises(VerificationError, match="differs"):
        check(sigmoid, flatter, ranges={"y": 1.0})


def test_a_source_that_answers_only_infinities_never_passes() -> None:
    def infinite(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.full_like(arrays["x"], np.inf)}

    with pytest.raises(VerificationError, match="itself answers only infinities in output 'y'"):
        check(infinite, infinite)


def test_an_empty_output_never_passes() -> None:
    def empty(arrays: Arrays) -> dict[str, Any]:
        return {"y": arrays["x"][:, :0]}

    with pytest.raises(VerificationError, match="output 'y' is empty"):
        check(empty, empty)


def test_a_loose_tolerance_does_not_hide_that_samples_mix() -> None:
    def mixing(arrays: Arrays) -> dict[str, Any]:
        return {"y": arrays["x"] - arrays["x"].mean(axis=0)}

    assert check(mixing, mixing, tolerance=Tolerance(100.0)).mixing == ("y",)


def test_batch_invariance_is_unknown_after_batches_of_one() -> None:
    assert check(identity, identity, max_batch_size=1).batch_invariant is None


def test_equal_infinities_are_equal() -> None:
    def masked(arrays: Arrays) -> dict[str, Any]:
        answer = arrays["x"].copy()
        answer[:, 0] = -np.inf
        return {"y": answer}

    assert check(masked, masked).passed


def test_answers_of_a_different_shape_do_not_pass() -> None:
    with pytest.raises(VerificationError, match=r"has shape \[1, 2\], and the source gives \[1, 4\]"):
        check(identity, lambda arrays: {"y": arrays["x"][:, :2]})


def test_a_missing_answer_does_not_pass() -> None:
    with pytest.raises(VerificationError, match="has no output 'y'"):
        check(identity, lambda arrays: {"z": arrays["x"]})


def test_a_source_that_answers_only_zeros_is_noted() -> None:
    def zeros(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.zeros_like(arrays["x"])}

    (note,) = check(zeros, zeros).notes
    assert "'y' hardly depends on the input" in note


def test_whole_numbers_and_truth_values_are_compared_exactly() -> None:
    whole = Signature(
        (TensorSpec("x", "int64", ("batch", 4), Domain(0, 99)),), (TensorSpec("y", "int64", ("batch", 4)),)
    )
    found = verify.verify(identity, identity, whole, max_batch_size=4, seed=0)
    assert found.passed
    with pytest.raises(VerificationError, match=r"differs by 1 \(limit 0\)"):
        verify.verify(identity, lambda arrays: {"y": arrays["x"] + 1}, whole, max_batch_size=4, seed=0)


@pytest.mark.parametrize(("step", "tolerance", "passes"), [
    (1, Tolerance(0.0, absolute=1.0), True),
    (2, Tolerance(0.0, absolute=1.0), False),
    (1, Tolerance(0.5, absolute=0.9), False),
    (-1, Tolerance(0.5), False),
])  # fmt: skip
def test_whole_numbers_may_differ_by_as_many_steps_as_the_user_allows(
    step: int, tolerance: Tolerance, passes: bool
) -> None:
    steps = Signature((TensorSpec("x", "int8", ("batch", 4), Domain(-9, 9)),), (TensorSpec("y", "int8", ("batch", 4)),))
    settings: dict[str, Any] = {"max_batch_size": 4, "seed": 0, "tolerance": tolerance}
    allowed = nullcontext() if passes else pytest.raises(VerificationError, match="absolute=1 allows one")
    with allowed:
        found = verify.verify(identity, lambda arrays: {"y": arrays["x"] + np.int8(step)}, steps, **settings)
        assert found.max_abs_diff == abs(step)


@pytest.mark.parametrize("batched", [True, False])
def test_rows_that_a_model_refuses_or_answers_with_nan_are_left_out(batched: bool) -> None:
    values = np.array([[1.0], [-1.0], [4.0], [9.0]], "float32")
    pool = inputs.Pool({"x": values}, ("one", "negative", "four", "nine"))

    def root(arrays: Arrays) -> Arrays:
        assert arrays["x"].shape == ((1, 1) if batched else (1,))
        if arrays["x"].max() > 8:
            raise InputRefused("it takes nothing above 8")
        with np.errstate(invalid="ignore"):
            return {"y": np.sqrt(arrays["x"])}

    specs = (tuple(TensorSpec(name, "float32", ("batch", 1) if batched else (1,)) for name in names) for names in "xy")
    signature = Signature(*specs)
    assert verify.usable(pool, root, signature).families == ("one", "four")
    assert [(row, float(answers["y"].item())) for row, answers in verify.answered(pool, root, signature)] == [
        (0, 1.0),
        (2, 2.0),
    ]
    with pytest.raises(VerificationError, match="no answers to compare with: it takes nothing above 8"):
        verify.usable(pool.only([1, 3]), root, signature)


def test_a_row_without_dimensions_is_an_array() -> None:
    pool = inputs.Pool({"x": np.arange(3.0), "y": np.ones((3, 2))}, ("a", "b", "c"))
    whole = Signature((TensorSpec("x", "float64", ()), TensorSpec("y", "float64", (2,))), ())
    single = pool.single(1, whole)
    assert {name: (type(array), array.shape) for name, array in single.items()} == {
        "x": (np.ndarray, ()),
        "y": (np.ndarray, (2,)),
    }
    assert single["x"] == 1
    assert pool.single(1, SIGNATURE)["y"].shape == (1, 2)


def test_inputs_stay_in_their_domain() -> None:
    specs = (
        TensorSpec("ids", "int64", ("batch", 5), Domain(0, 30521)),
        TensorSpec("mask", "int32", ("batch", 5), Domain(0, 1)),
        TensorSpec("image", "float32", ("batch", 3, 2, 2), Domain(0.0, 1.0)),
        TensorSpec("flag", "bool", ("batch", 1)),
    )
    pool = inputs.make_pool(specs, 16, seed=3)
    for spec in specs:
        array = pool.arrays[spec.name]
        assert (array.shape, array.dtype.name) == ((16, *spec.shape[1:]), spec.dtype)
        if spec.domain.high is not None:
            assert array.min() >= 0
            assert array.max() <= spec.domain.high
    assert pool.arrays["ids"].max() > 1000
    assert set(np.unique(pool.arrays["mask"])) == {0, 1}


def test_samples_are_compared_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.full((2, 4), 7, "float32"))
    np.save(tmp_path / "b.npy", np.full(4, 8, "float64"))  # one sample, of another float type
    (samples,) = datasets.samples(tmp_path, SIGNATURE).pools
    assert samples.families == ("sample a.npz", "sample a.npz", "sample b.npy")

    def wrong_on_eights(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.where(arrays["x"] == 8, 0, arrays["x"])}

    with pytest.raises(VerificationError, match=r"on input 'sample b\.npy'"):
        check(identity, wrong_on_eights, samples=(samples,))


def test_samples_that_hold_code_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(OptionError, match="can't read samples"):
        datasets.samples(tmp_path / "evil.npy", SIGNATURE)


def test_a_model_that_mixes_samples_is_published_without_batching(generate: Generate, numpy_models: None) -> None:
    outcome = generate("--model", "numpy:mixes_samples", "--json", "-q")
    assert outcome.code == 0
    assert outcome.result["max_batch_size"] == 0
    assert outcome.result["verification"]["passed"] is True
    assert outcome.result["verification"]["batch_invariant"] is False
    assert "samples of one batch influence each other in output" in outcome.err
    text = Path("model_repository/mixes_samples/config.pbtxt").read_text()
    assert "max_batch_size: 0\n" in text
    assert "dims: [ -1, 4 ]" in text
    assert "dynamic_batching" not in text


def test_a_model_without_a_common_batch_dimension_names_the_tensor(generate: Generate, numpy_models: None) -> None:
    outcome = generate("--model", "numpy:sums_the_batch", "--json", "-q")
    assert (outcome.code, outcome.result["max_batch_size"]) == (0, 0)
    assert outcome.result["verification"]["batch_invariant"] is None
    assert outcome.result["verification"]["cases"] >= 3 * len(inputs.FAMILIES)
    assert "batching is off: output[]" in outcome.err


def test_without_verification_the_report_says_so(generate: Generate, numpy_models: None) -> None:
    outcome = generate("--model", "numpy:exported_wrong", "--no-verify", "--json", "-q")
    assert (outcome.code, outcome.result["status"]) == (0, "published")
    assert outcome.result["verification"]["passed"] is None
    assert "not verified" in outcome.err


def test_swapped_answers_are_noticed_even_if_answers_hardly_differ() -> None:
    def dull(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.float32(100) + np.float32(1e-2) * arrays["x"]}

    def exchanged(arrays: Arrays) -> dict[str, Any]:
        return {"y": dull(arrays)["y"][::-1]}

    found = check(dull, dull)
    assert (found.passed, found.notes) == (True, ())
    with pytest.raises(VerificationError):
        check(dull, exchanged)


def test_a_note_says_that_answers_which_differ_only_by_rounding_prove_little() -> None:
    def constant(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.float32(100) + np.float32(1e-5) * arrays["x"]}

    (note,) = check(constant, constant).notes
    assert "proves little" in note


def test_a_model_that_fails_at_some_batch_size_is_not_published(generate: Generate, numpy_models: None) -> None:
    outcome = generate("--model", "numpy:frozen_batch")
    assert outcome.code == 5
    assert "the converted model fails on input[1, 4]" in outcome.err
    assert outcome.err.count("error:") == 1


def test_a_file_of_samples_is_one_input_set_of_a_model_without_batches(generate: Generate, numpy_models: None) -> None:
    np.save("samples.npy", np.ones((5, 4), "float32"))
    without = generate("--model", "numpy:sums_the_batch", "--json", "-q")
    outcome = generate("--model", "numpy:sums_the_batch", "--samples", "samples.npy", "--json", "-q")
    assert outcome.code == 0
    assert outcome.result["verification"]["cases"] == without.result["verification"]["cases"] + 1


def test_an_output_that_grows_with_the_batch_is_compared_as_a_whole(generate: Generate, numpy_models: None) -> None:
    outcome = generate("--model", "numpy:doubles_the_batch", "--json", "-q")
    assert (outcome.code, outcome.result["max_batch_size"]) == (0, 0)


def test_choices_among_equal_values_are_left_out_and_other_differences_are_not() -> None:
    def first(arrays: Arrays) -> dict[str, Any]:
        return {"y": arrays["x"].argmax(axis=1)}

    def last(arrays: Arrays) -> dict[str, Any]:
        return {"y": 3 - arrays["x"][:, ::-1].argmax(axis=1)}

    def tied(arrays: Arrays, near: bool) -> bool:
        return bool((np.sort(arrays["x"])[:, -1] == np.sort(arrays["x"])[:, -2]).any())

    arbitrary = Arbitrary(frozenset({"y"}), tied)
    found = check(first, last, arbitrary=arbitrary)
    assert any("inputs are left out, since rounding decides" in note for note in found.notes)
    with pytest.raises(VerificationError, match="differs"):
        check(first, lambda arrays: {"y": arrays["x"].argmin(axis=1)}, arbitrary=arbitrary)


def test_a_row_that_was_left_out_of_one_probe_excuses_no_row_of_another() -> None:
    """Probes come and go, so nothing about one of them may be found by where it lies in memory."""

    class Probes:
        def probes(self, batch: int) -> Iterator[Probe]:
            edge = np.nextafter(np.float32(0.1), np.float32(1))
            for value in (*[edge] * 60, np.float32(-7)):
                yield Probe(inputs.Pool({"x": np.full((1, 4), value, "f4")}, ("probe",)))

        def took(self, pool: inputs.Pool) -> None: ...

        def answered(self, probe: Probe, rows: Sequence[int]) -> None: ...

    def stepping(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.where(arrays["x"] > 0.1, np.float32(5), arrays["x"])}

    def wrong_at_seven(arrays: Arrays) -> dict[str, Any]:
        stepped = np.where(arrays["x"] > np.nextafter(np.float32(0.1), np.float32(1)), np.float32(5), arrays["x"])
        return {"y": np.where(arrays["x"] == -7, np.float32(0), stepped)}

    with pytest.raises(VerificationError, match="differs by 7"):
        check(stepping, wrong_at_seven, probing=Probes())


def test_other_answers_are_not_called_a_matter_of_the_limit() -> None:
    def hint(source: verify.Run, candidate: verify.Run) -> str:
        with pytest.raises(VerificationError) as caught:
            check(source, candidate)
        return caught.value.hint

    zeros = hint(lambda arrays: {"y": 0 * arrays["x"]}, identity)
    assert "a row of zeros there, as at padded places: docs/how-to/when-export-fails.md#padding" in zeros
    assert "it answers NaN where" in hint(identity, lambda arrays: {"y": arrays["x"] * np.float32("nan")})
    assert "as large as the answers" in hint(identity, lambda arrays: {"y": -arrays["x"]})
    assert "a looser limit is set with --tolerance" in hint(identity, lambda arrays: {"y": 1.1 * arrays["x"]})


def test_a_tolerance_knows_the_range_of_an_output() -> None:
    """A looser tolerance than the usual one would refuse what that one allows."""

    def tiny(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.float32(2.5e-7) + np.float32(1e-9) * np.tanh(arrays["x"])}

    def rounded(arrays: Arrays) -> dict[str, Any]:
        return {"y": tiny(arrays)["y"] + np.float32(1.2e-7)}

    assert check(tiny, rounded, tolerance=Tolerance(relative=1e-2), ranges={"y": 1.0}).passed


# --- labels beside scores


LABELLED = Signature((X,), (TensorSpec("label", "int64", ("batch",)), TensorSpec("scores", "float32", ("batch", 4))))


def scoring(shift: float, wrong: bool = False) -> verify.Run:
    """Return a classifier whose first two scores are close, and the second one ``shift`` larger."""

    def run(arrays: Arrays) -> dict[str, Any]:
        scores = np.tile(np.array([1.0, 0.99, 0.1, 0.0], "float32"), (len(arrays["x"]), 1))
        scores[:, 2] += 0.01 * np.tanh(np.nan_to_num(arrays["x"][:, 0]))
        scores[:, 1] += shift
        return {"label": scores.argmax(axis=1) + 3 * wrong, "scores": scores}

    return run


def compared(candidate: verify.Run, **options: Any) -> Any:
    options = {"precision": INT8, "tolerance": Tolerance(relative=0.25), "exchanging": True, **options}
    return verify.verify(scoring(0.0), candidate, LABELLED, max_batch_size=4, seed=0, **options)


def test_labels_of_a_lower_precision_may_follow_scores_whose_order_changes_within_the_limit() -> None:
    found = compared(scoring(0.1))
    assert found.passed
    assert found.max_abs_diff == pytest.approx(0.1, abs=1e-6)
    assert f"output 'label' differs in {found.cases} of {found.cases} cases, where the order" in found.notes[-1]


@pytest.mark.parametrize(
    ("candidate", "options", "output"),
    [
        (scoring(0.0, wrong=True), {}, "label"),
        (scoring(0.5), {}, "scores"),
        (scoring(0.1), {"exchanging": False}, "label"),
    ],
    ids=["the scores stay", "the scores move too far", "a conversion"],
)
def test_labels_may_not_differ_otherwise(candidate: verify.Run, options: dict[str, Any], output: str) -> None:
    with pytest.raises(VerificationError, match=f"output '{output}' differs"):
        compared(candidate, **options)
