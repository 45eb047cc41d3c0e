"""A slice of the comparison with the real server; `make differential` does all of it."""

import pytest

from tests.differential.corpus import corpus
from tests.differential.drawing import drawn
from tests.differential.mutated import mutated
from tests.differential.scheduling import schedulers
from tests.differential.trial import Outcome, judged

MODULES = (
    "ensembles", "examples", "fields", "foreign", "placement", "schedulers", "source", "syntax", "tensors"
)  # fmt: skip


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return [outcome for name in MODULES for outcome in judged(case for case in corpus()[name] if not case.alone)]


def test_the_corpus_knows_what_triton_says(outcomes: list[Outcome]) -> None:
    asked = [outcome for outcome in outcomes if outcome.expected is not None]
    wrong = [str(outcome) for outcome in asked if outcome.verdict.loads == bool(outcome.expected)]
    assert not wrong, "\n".join(wrong)
    assert len(asked) >= 300


def test_configurations_are_completed_as_predicted(outcomes: list[Outcome]) -> None:
    assert not [f"{outcome.name}: {outcome.otherwise}" for outcome in outcomes if outcome.otherwise]
    assert sum(bool(outcome.completed) for outcome in outcomes) >= 300


def test_the_linter_agrees_with_triton_on_the_corpus(outcomes: list[Outcome]) -> None:
    assert not [str(outcome) for outcome in outcomes if not outcome.agrees]


def test_each_error_of_the_corpus_is_found(outcomes: list[Outcome]) -> None:
    missing = {
        outcome.name: sorted(set(outcome.expected or ()) - {*outcome.errors, *outcome.undecided})
        for outcome in outcomes
    }
    assert not {name: codes for name, codes in missing.items() if codes}


def test_the_linter_agrees_with_triton_on_random_repositories() -> None:
    assert not [str(outcome) for outcome in judged(drawn(seed=0, count=60)) if not outcome.agrees]


def test_the_linter_agrees_with_triton_on_random_schedulers_and_ensembles() -> None:
    assert not [str(outcome) for outcome in judged(schedulers(seed=0, count=100)) if not outcome.agrees]


def test_the_linter_agrees_with_triton_on_texts_that_were_changed() -> None:
    outcomes = list(judged(mutated(seed=0, count=800)))
    assert not [str(outcome) for outcome in outcomes if not outcome.agrees]
    assert not [f"{outcome.name}: {outcome.otherwise}" for outcome in outcomes if outcome.otherwise]
    assert sum(outcome.verdict.loads for outcome in outcomes) > 50


def test_random_repositories_are_the_same_for_a_seed() -> None:
    assert drawn(seed=3, count=20) == drawn(seed=3, count=20)
    assert mutated(seed=3, count=20) == mutated(seed=3, count=20)
    assert schedulers(seed=3, count=20) == schedulers(seed=3, count=20)
