"""The report of `bench`: its files, their content, and the page in a browser without a network."""

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console, RenderableType

from modelrepo.cli.terminal.bench_output import print_results
from modelrepo.generator.errors import PerfError
from modelrepo.perf import report
from modelrepo.perf.report import terminal, units
from modelrepo.perf.report.page import markdown, page
from modelrepo.perf.report.subjects import Subjects
from modelrepo.perf.report.verdict import cautions, verdict
from modelrepo.perf.results.loads import Load, Slo
from modelrepo.perf.results.results import Measurement, Ratio, Results
from tests.perf.bench_results import BASE, HALF, in_process, measured, measurement, played

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Golden = Callable[[str, str], None]
HOSTILE = "</script><b id=bad>|%{x}`_"
CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def sentences(results: Results) -> list[str]:
    return [each.text for each in verdict(results)]


def warned(results: Results) -> list[str]:
    return [each.text for each in cautions(results)]


# What lies in the folder.


def test_a_report_is_four_files(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert report.write(measured(), folder) == folder / "report.html"
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.md", "results.csv", "results.json"]
    assert json.loads((folder / "results.json").read_text())["report"] == str(folder / "report.html")


def test_a_report_replaces_the_one_before(tmp_path: Path) -> None:
    report.write(measured(), tmp_path)
    report.write(in_process(), tmp_path)
    assert "resnet50 in onnxruntime" in (tmp_path / "report.html").read_text()
    assert len(list(tmp_path.iterdir())) == 4


def test_a_folder_that_can_not_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PerfError, match=r"can't write the report .*/file/results.json: .*\. Name another folder"):
        report.write(measured(), tmp_path / "file")


def test_a_file_that_can_not_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report.write(measured(), tmp_path)
    before = (tmp_path / "results.json").read_bytes()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(PerfError, match="No space left on device"):
        report.write(in_process(), tmp_path)
    assert (tmp_path / "results.json").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 4


def test_without_plotly_the_figures_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.delitem(sys.modules, "plotly.offline", raising=False)
    with pytest.raises(PerfError, match="plotly"):
        report.write(measured(), tmp_path)
    assert (tmp_path / "results.json").exists()
    assert not (tmp_path / "report.html").exists()


def test_the_csv_has_a_row_a_measurement_and_a_unit_a_column(tmp_path: Path) -> None:
    report.write(replace(measured(), measurements=measured().measurements + played().measurements), tmp_path)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert [*rows[0]] == [
        "model", "version", "backend", "precision", "protocol", "phase", "concurrency", "request_rate_per_s",
        "arrivals", "batch_size", "throughput_per_s", "latency_avg_us", "latency_p50_us", "latency_p90_us",
        "latency_p95_us", "latency_p99_us", "server_queue_us", "server_compute_input_us", "server_compute_infer_us",
        "server_compute_output_us", "client_send_us", "client_network_us", "client_receive_us", "requests",
        "delayed_share", "failed", "stable", "reason", "runs", "discarded", "steal_share", "busy_share",
        "load_average", "batches", "nv_cpu_utilization_mean", "nv_cpu_utilization_most",
        "nv_cpu_memory_used_bytes_mean", "nv_cpu_memory_used_bytes_most",
    ]  # fmt: skip
    assert (rows[1]["concurrency"], rows[1]["request_rate_per_s"], rows[1]["batches"]) == ("2", "", "1:60 2:400")
    assert (rows[11]["throughput_per_s"], rows[11]["stable"]) == ("", "false")
    assert (rows[12]["concurrency"], rows[12]["request_rate_per_s"], rows[12]["arrivals"]) == ("", "14.0", "poisson")


@pytest.mark.parametrize("results", [measured(), played(), in_process()], ids=["measured", "played", "in_process"])
def test_the_markdown_says_the_same(results: Results, golden: Golden, request: pytest.FixtureRequest) -> None:
    golden(f"report/{request.node.callspec.id}.md", markdown(results))


# What it says.


def test_the_verdict_is_the_best_throughput_within_the_limit_and_the_difference() -> None:
    assert sentences(measured()) == [
        "Best throughput within p99 <= 20 ms: resnet50_onnx 270 /s at concurrency 4 (p99 19.4 ms).",
        "Best throughput within p99 <= 20 ms: resnet50_onnx_fp16 356 /s at concurrency 4 (p99 14.7 ms).",
        "resnet50_onnx_fp16 has 1.34x (1.29 to 1.40) the throughput of resnet50_onnx at concurrency 8: better; "
        "the same at 2 of 4 loads.",
    ]
    strict = replace(measured(), slo=Slo("p50", 10.0), comparisons=())
    assert sentences(strict)[0] == "resnet50_onnx keeps p50 <= 0.01 ms under no load that was tried."
    assert sentences(replace(strict, slo=None))[0].startswith("Best throughput: resnet50_onnx 312 /s")


def test_verdicts_of_noise_and_of_too_few_rounds_are_reported() -> None:
    quiet = [each for each in measured().comparisons if each.verdict == "noise"]
    unknown = [each for each in measured().comparisons if each.verdict == "unknown"]
    base = replace(measured(), measurements=())
    assert sentences(replace(base, comparisons=tuple(quiet))) == [
        "resnet50_onnx_fp16 and resnet50_onnx differ by no more than noise at concurrency 16: 1.01x (0.97 to 1.05)."
    ]
    assert sentences(replace(base, comparisons=tuple(unknown))) == [
        "resnet50_onnx_fp16 against resnet50_onnx at concurrency 32: too few rounds for a verdict."
    ]


def test_a_load_test_says_how_it_ended_and_counts_its_requests() -> None:
    assert sentences(played())[:4] == [
        "Load test “ramp” failed.",
        "Broken: p99 was 31.2 ms in phase peak, where 20 ms is allowed",
        "Broken: 1 of 500 checked answers was wrong",
        "Requests: 12,345 sent, 12,340 answered, 5 failed; 500 answers checked, 1 wrong.",
    ]
    outcome = played().scenario
    assert outcome is not None
    passed = replace(played(), scenario=replace(outcome, breaches=()))
    assert sentences(passed)[0] == "Load test “ramp” passed."
    assert sentences(replace(passed, incomplete="interrupted"))[0] == "Load test “ramp” did not finish."


def test_the_speed_up_of_conversion_is_reported_for_the_largest_batch() -> None:
    assert sentences(in_process()) == [
        "resnet50 in onnxruntime: 1.67x (1.61 to 1.75) as fast as in torch at batch 16.",
        "resnet50 in triton (served): 1.54x (1.49 to 1.62) as fast as in torch at batch 16.",
    ]


def test_a_reader_is_warned_before_the_figures() -> None:
    assert warned(replace(measured(), incomplete="interrupted")) == [
        "Measured on this machine's CPU: a GPU host will differ.",
        "Incomplete: interrupted. The figures come from 1 of 5 rounds.",
        "resnet50_onnx_fp16 at concurrency 32 gave no figures: perf_analyzer: unable to allocate memory.",
        "3 requests failed.",
        "1 of 12 measurements unstable: the reasons are below.",
        "no GPU metrics at http://127.0.0.1:8002/metrics",
    ]
    assert warned(Results("now", {"server": {"local": False}})) == []


def test_warnings_of_the_run_are_in_the_page_and_the_markdown() -> None:
    (warning,) = measured().warnings
    assert f'<li class="warn">{warning}</li>' in page(measured())
    assert f"> **{warning}**" in markdown(measured())


def test_names_are_only_as_long_as_needed_to_distinguish_subjects() -> None:
    again, over_http = replace(BASE, version="2"), replace(BASE, protocol="http")
    assert Subjects((BASE, HALF)).name(BASE) == "resnet50_onnx"
    assert Subjects((BASE, again)).name(again) == "resnet50_onnx version 2"
    assert Subjects((BASE, over_http)).name(over_http) == "resnet50_onnx over http"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 µs"), (0.5, "0.5 µs"), (812.4, "812 µs"), (999.6, "1.00 ms"), (9_999.0, "10.0 ms"),
        (12_345.0, "12.3 ms"), (1_200_000.0, "1.20 s"), (1.2e9, "1,200 s"), (float("nan"), units.NO_FIGURE),
    ],
)  # fmt: skip
def test_units_fit_the_size(value: float, text: str) -> None:
    assert units.duration(value) == text


def test_an_empty_result_is_a_report_too(tmp_path: Path) -> None:
    empty = Results("when", {}, incomplete="the server no longer answers")
    text = report.write(empty, tmp_path).read_text()
    assert "Incomplete: the server no longer answers." in text
    assert "data-plot=" not in text
    assert len(text) < 100_000  # and nothing to draw with
    assert markdown(empty).startswith("# no model\n")


# In a terminal.


def lines(results: Results) -> str:
    return printed(terminal.table(results))


def printed(table: RenderableType) -> str:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def test_the_table_fits_80_columns(golden: Golden) -> None:
    golden("report/table.txt", lines(measured()) + "\n" + lines(played()))


def test_a_load_test_is_judged_by_its_scenario_and_not_phase_by_phase() -> None:
    tight = Slo("p99", 1.0)
    assert "broken" in lines(replace(measured(), slo=tight))
    assert "| broken |" in markdown(replace(measured(), slo=tight))
    assert "broken" not in lines(replace(played(), slo=tight))
    assert "| SLO |" not in markdown(replace(played(), slo=tight))


def test_comparisons_and_frameworks_fit_80_columns(golden: Golden) -> None:
    both = printed(terminal.comparisons(measured())) + "\n" + printed(terminal.in_process(in_process().in_process))
    assert max(map(len, both.splitlines())) <= 80
    golden("report/compared.txt", both)


def test_a_ratio_without_noise_is_shown_and_its_verdict_explained_once() -> None:
    def table(noise: Ratio | None, word: Any) -> str:
        found = (replace(each, noise=noise, verdict=word) for each in measured().comparisons[:3])
        return printed(terminal.comparisons(replace(measured(), comparisons=tuple(found))))

    without = table(None, "unknown")
    assert without.count("1.31x (1.27 to 1.35)") == 1
    assert without.count(f"{units.NO_FIGURE} ? unknown") == 3
    assert without.count("Without a measured noise") == 1
    assert "Without a measured noise" not in table(Ratio(1.0, 0.99, 1.01), "better")


def test_below_its_table_a_load_test_says_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    print_results(played(), Path("r/report.html"), None, as_json=False)
    below = capsys.readouterr().out.partition("Load test")[2]
    assert below.startswith(" “ramp” failed.\nBroken: p99 was 31.2 ms in phase peak, where 20 ms is allowed\n")
    assert below.endswith("\nreport: r/report.html\n")


def test_the_plot_is_15_lines_of_characters_at_most(golden: Golden) -> None:
    text = terminal.plot(measured(), 80, colour=False)
    golden("report/plot.txt", text + "\n")
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 15
    assert "\x1b[" in terminal.plot(measured(), 60, colour=True)


def test_one_point_gives_no_plot() -> None:
    one = replace(measured(), measurements=measured().measurements[:1])
    assert terminal.plot(one, 80, colour=False) == ""
    assert terminal.plot(played(), 80, colour=False) == ""  # its phases are no curve
    assert terminal.plot(measured(), 10, colour=False) == ""


@pytest.mark.parametrize("name", ["[red]x[/]", "[/x] [b", ":smile:", "x\\"])
def test_a_name_that_looks_like_markup_is_shown_as_it_is(name: str) -> None:
    odd = replace(BASE, model=name)
    found = measurement(odd, Load(concurrency=1), stable=False, reason=name)
    compared = (replace(measured().comparisons[0], subject=odd),)
    assert lines(Results("now", {}, (found,))).count(name) == 3
    assert f"{name} / resnet50_onnx" in printed(terminal.comparisons(Results("now", {}, comparisons=compared)))
    row = replace(in_process().in_process[0], model=name, framework=f"{name} x")
    assert printed(terminal.in_process([row])).count(name) == 2


# In a browser.


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    if CHROMIUM is None and "CI" not in os.environ:
        pytest.skip("no chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@contextmanager
def opened(browser: "Browser", path: Path, scheme: Any = "light", width: int = 1280) -> "Iterator[Page]":
    """Open a page without a network and wait until all is drawn; there must be no errors."""
    problems: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_offline(True)
    tab = context.new_page()
    tab.on("console", lambda message: problems.append(f"console: {message.text}"))
    tab.on("pageerror", lambda error: problems.append(f"error: {error}"))
    tab.on("requestfailed", lambda asked: problems.append(f"failed: {asked.url}"))
    tab.on("request", lambda asked: None if asked.url == path.as_uri() else problems.append(f"asked: {asked.url}"))
    tab.goto(path.as_uri())
    drawn(tab)
    yield tab
    context.close()
    assert problems == []


def drawn(tab: "Page") -> None:
    tab.wait_for_selector("html[data-drawn=all]")


def count(tab: "Page", selector: str) -> int:
    return tab.locator(selector).count()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {"measured": measured(), "played": played(), "in_process": in_process()}
    return {name: report.write(results, tmp_path_factory.mktemp(name)) for name, results in made.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_plot_of_the_page_is_drawn(browser: "Browser", pages: dict[str, Path], scheme: str) -> None:
    with opened(browser, pages["measured"], scheme) as tab:
        assert count(tab, "[data-plot]") == count(tab, ".js-plotly-plot") == 10
        assert count(tab, "#throughput .scatterlayer .trace") == 2
        assert count(tab, "#throughput .scatterlayer .point") == 11  # one of 12 gave no figures
        assert count(tab, "#latency .scatterlayer .point") == 4 * 11
        assert count(tab, "#time .barlayer .point") == 7 * 11
        assert count(tab, "#batches .heatmaplayer image") == 2
        assert count(tab, "#comparison .scatterlayer .point") == 9
        assert count(tab, "#comparison .barlayer .point") == 9
        assert count(tab, "#throughput .shapelayer path") == 1  # the SLO
        assert "p99 <= 20 ms" in (tab.locator("#throughput .infolayer").text_content() or "")
        assert sections_of(tab) == [
            "verdict", "throughput", "comparison", "measurements", "latency", "time", "batches", "machine",
            "environment", "commands",
        ]  # fmt: skip


def sections_of(tab: "Page") -> list[str]:
    return [str(each.get_attribute("id")) for each in tab.locator("section").all()]


def test_a_load_test_is_drawn_phase_by_phase(browser: "Browser", pages: dict[str, Path]) -> None:
    with opened(browser, pages["played"]) as tab:
        assert count(tab, "#timeline .barlayer .point") == 8
        assert count(tab, "#timeline .scatterlayer .point") == 16
        assert count(tab, "#timeline .shapelayer path") == 1
        phases = [tick.text_content() for tick in tab.locator("#timeline .xtick text").all()]
        assert phases == ["warm", "ramp", "peak", "cool"]


def test_the_speed_up_of_conversion_is_drawn(browser: "Browser", pages: dict[str, Path]) -> None:
    with opened(browser, pages["in_process"]) as tab:
        assert count(tab, "#frameworks .barlayer .point") == 9
        assert sections_of(tab) == ["verdict", "frameworks", "environment"]


def test_the_theme_can_be_changed_and_the_plots_follow(browser: "Browser", pages: dict[str, Path]) -> None:
    def colours(tab: "Page") -> tuple[str, str]:
        line = tab.locator("#throughput .js-line").first
        return (
            str(tab.evaluate("getComputedStyle(document.body).backgroundColor")),
            str(line.evaluate("each => getComputedStyle(each).stroke")),
        )

    with opened(browser, pages["measured"], "dark") as tab:
        dark = colours(tab)
        tab.locator("#theme").click()
        drawn(tab)
        light = colours(tab)
        assert light[0] != dark[0]
        assert light[1] != dark[1]
        assert count(tab, "#throughput .scatterlayer .point") == 11
        tab.locator("#theme").click()
        drawn(tab)
        assert colours(tab) == dark
        tab.emulate_media(color_scheme="light")  # chosen by hand, it stays
        assert colours(tab) == dark
    with opened(browser, pages["measured"], "dark") as tab:
        tab.emulate_media(color_scheme="light")
        tab.wait_for_selector("#theme:has-text('Dark')")  # it has noticed, and draws
        drawn(tab)
        assert colours(tab) == light


@pytest.mark.parametrize("name", ["measured", "played", "in_process"])
def test_a_phone_scrolls_down_only(browser: "Browser", pages: dict[str, Path], name: str) -> None:
    with opened(browser, pages[name], width=360) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_command_is_copied_or_marked(browser: "Browser", pages: dict[str, Path]) -> None:
    with opened(browser, pages["measured"]) as tab:
        tab.locator("#commands summary").click()
        tab.locator("#commands button").first.click()
        tab.wait_for_selector("#commands button:has-text('Copied'), #commands button:has-text('Press Ctrl+C')")


def test_a_printed_page_is_light_and_whole(browser: "Browser", pages: dict[str, Path]) -> None:
    with opened(browser, pages["measured"], "dark") as tab:
        assert len(tab.pdf()) > 50_000
        drawn(tab)
        assert tab.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light dark"


def test_names_can_not_break_out_of_the_page(browser: "Browser", tmp_path: Path) -> None:
    odd = replace(BASE, model=HOSTILE)

    def named(each: Measurement) -> Measurement:
        return replace(each, subject=odd, reason=HOSTILE, phase="", commands=(HOSTILE,))

    found = tuple(named(each) for each in measured().measurements[:6])
    compared = tuple(replace(each, subject=odd) for each in measured().comparisons)
    results = Results(HOSTILE, {HOSTILE: HOSTILE}, found, compared, warnings=(HOSTILE,), incomplete=HOSTILE)
    with opened(browser, report.write(results, tmp_path)) as tab:
        assert count(tab, "#bad") == 0
        assert tab.locator("h1").inner_text() == f"{HOSTILE}, resnet50_onnx"
        assert tab.locator("#throughput .legendtext").first.text_content() == HOSTILE
        tab.locator("#throughput .js-plotly-plot .point").first.hover(force=True)
        tab.wait_for_selector(".hoverlayer text")
        assert HOSTILE in (tab.locator(".hoverlayer").first.text_content() or "")
    assert "\\|%{x}\\`\\_" in (tmp_path / "report.md").read_text()


def test_many_curves_are_drawn_in_the_same_colours(browser: "Browser", tmp_path: Path) -> None:
    subjects = [replace(BASE, model=f"model_{number}") for number in range(10)]
    found = [
        measurement(subject, Load(size, concurrency=number))
        for subject in subjects
        for size in (1, 4)
        for number in (1, 2, 8)
    ]
    ratio = Ratio(1.0, 0.9, 1.1)
    results = Results("now", {}, tuple(found), (replace(measured().comparisons[0], ratio=ratio, noise=None),))
    with opened(browser, report.write(results, tmp_path)) as tab:
        assert count(tab, "#throughput .scatterlayer .trace") == 20
        assert count(tab, "#latency .js-plotly-plot") == 20


def test_the_page_is_written_for_the_web() -> None:
    text = page(measured())
    assert text.startswith("<!doctype html>\n")
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in text
    assert "<script src" not in text
    assert "<link" not in text
