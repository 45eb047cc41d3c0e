"""How a user writes loads, limits and durations."""

from collections.abc import Callable

import pytest

from modelrepo.generator.errors import OptionError
from modelrepo.perf.measuring.session import parse_shapes
from modelrepo.perf.results.loads import (
    Load,
    parse_batch_sizes,
    parse_concurrency,
    parse_duration,
    parse_rates,
    parse_slo,
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("8", (8,)),
        ("1,2,4", (1, 2, 4)),
        ("1:64", (1, 2, 4, 8, 16, 32, 64)),
        ("1:48", (1, 2, 4, 8, 16, 32, 48)),
        ("3:3", (3,)),
        ("1:64:8", (1, 9, 17, 25, 33, 41, 49, 57, 64)),
        ("1:4,4,16", (1, 2, 4, 16)),
    ],
)
def test_concurrency_doubles_or_goes_in_steps(text: str, values: tuple[int, ...]) -> None:
    assert parse_concurrency(text) == values


@pytest.mark.parametrize(
    ("text", "values"), [("200", (200.0,)), ("50,100.5", (50.0, 100.5)), ("0.1:0.4:0.1", (0.1, 0.2, 0.3, 0.4))]
)
def test_request_rates_are_lists_and_ranges(text: str, values: tuple[float, ...]) -> None:
    assert parse_rates(text) == pytest.approx(values)


def test_limits_have_a_percentile_and_a_unit() -> None:
    assert (parse_slo("p99:20ms").limit_us, parse_slo("avg<=1.5s").limit_us, parse_slo("p50: 300us").limit_us) == (
        20e3,
        1.5e6,
        300.0,
    )
    assert str(parse_slo("p99:20ms")) == "p99 <= 20 ms"


def test_durations_have_a_unit_or_are_seconds() -> None:
    assert [parse_duration(text) for text in ("5", "500ms", "10m", "2h")] == [5.0, 0.5, 600.0, 7200.0]


def test_shapes_are_written_as_for_perf_analyzer() -> None:
    assert parse_shapes(["ids:128", "image:3,224,224"]) == {"ids": (128,), "image": (3, 224, 224)}


def test_a_load_reads_like_a_sentence() -> None:
    assert str(Load(4, concurrency=8)) == "concurrency 8, batch 4"
    assert str(Load(1, request_rate=200.0, arrivals="poisson")) == "200 requests/s, Poisson"


UNREADABLE: list[tuple[Callable[[str], object], str]] = [
    *(
        (parse_concurrency, text)
        for text in ("", "0", "a", "8:1", "1:8:0", "-1", "1:2:3:4", "5000", "1e3", "0:8", "1,,2")
    ),
    *((parse_rates, text) for text in ("", "0", "-5", "nan", "inf", "10:20", "20:10:1", "1:1000000:0.1", "1::2")),
    *(
        (parse_slo, text)
        for text in ("", "p99", "20ms", "p99:99999999999s", "p98:20ms", "p99:20", "p99:0ms", "p99:-1ms", "p99:20min")
    ),
    *((parse_duration, text) for text in ("", "0", "-1s", "1d", "10ms", "nan", "9999h")),
    *((parse_batch_sizes, text) for text in ("", "0", "1,0", "x", "1,,2", "-4", "1.5")),
    *((lambda text: parse_shapes([text]), text) for text in ("", "ids", "ids:", "ids:0", "ids:1,-1", "ids:a")),
]


@pytest.mark.parametrize(("parse", "text"), UNREADABLE)
def test_what_can_not_be_read_is_refused_in_one_line(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse(text)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint or "from 1 to" in caught.value.message
