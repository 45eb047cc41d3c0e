"""`modelrepo check`: what it prints, in each format, and how it ends."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from modelrepo.cli.commands.check import check
from modelrepo.cli.terminal.findings import Lines, of_text
from modelrepo.cli.terminal.findings_for_programs import as_github, as_markdown
from modelrepo.cli.terminal.rules import table, wrapped
from modelrepo.generator.lint import check as findings
from modelrepo.generator.lint import rules
from modelrepo.generator.lint.finding import Edit, Finding, Place, Problem
from modelrepo.generator.lint.fixes import encoded, mended
from modelrepo.generator.lint.page import page
from modelrepo.generator.lint.rule import Rule
from modelrepo.generator.lint.rules.unjudged import UNJUDGED
from modelrepo.generator.lint.subject import Case
from tests.conftest import ModelRepo, assert_refused

# Of OASIS: docs.oasis-open.org/sarif/sarif/v2.1.0.
SARIF = Path(__file__).parents[1] / "data/sarif/sarif-schema-2.1.0.json"
TEXT = """name: "net"
backend: "light"
\tinput [ { name: "x", data_type: TYPE_FP32, dims: [ 3, 0 ] } ]
output [ { name: "y", data_type: TYPE_FP32, dims: [ 1 ] } ]
"""


@pytest.fixture
def repository(workdir: Path) -> Path:
    (workdir / "repo/net/1").mkdir(parents=True)
    (workdir / "repo/net/config.pbtxt").write_text(TEXT)
    return workdir / "repo"


@pytest.fixture
def fixable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the only rule one that wants another name than "net"."""

    def other_name(case: Case) -> Any:
        if case.config.message.name == "net":
            (name,) = case.config.tree.fields["name"]
            edit = Edit(case.config.path, name.begins, name.ends, '"other"')
            yield Problem(case.config.place("name"), "Triton does not like this name", "Write other", (edit,))

    rule = Rule("NAMES", "error", "a name", "It does not like it.", "Write other", other_name, fixable=True)
    monkeypatch.setattr("modelrepo.generator.lint.rules.rules", lambda: (rule,))


def test_a_finding_looks_like_a_compiler_s(modelrepo: ModelRepo, repository: Path) -> None:
    outcome = modelrepo(check, "repo", "--select", "DIM")
    assert outcome.code == 6
    assert outcome.err == ""
    first, line, caret, write, blank, summary = outcome.out.splitlines()
    assert first.startswith("repo/net/config.pbtxt:3:56: error DIM: Triton refuses the model: ")
    assert line == '    3 |  input [ { name: "x", data_type: TYPE_FP32, dims: [ 3, 0 ] } ]'
    assert line[caret.index("^")] == "0"
    assert write.startswith("  = Write the size, or -1 for any size")
    assert (blank, summary) == ("", "1 error in 1 model for Triton 26.09")


def test_what_is_right_ends_with_0(modelrepo: ModelRepo, repository: Path) -> None:
    (repository / "net/config.pbtxt").write_text(TEXT.replace("3, 0", "3"))
    outcome = modelrepo(check, "repo", "--select", "DIM")
    assert (outcome.code, outcome.out) == (0, "nothing found in 1 model for Triton 26.09\n")


def test_a_long_line_is_shown_around_the_place(modelrepo: ModelRepo, repository: Path) -> None:
    wide = TEXT.replace("\tinput", "\t" * 300 + "input")
    (repository / "net/config.pbtxt").write_text(wide.replace('"x"', '"\u65e5\u672c"'))
    outcome = modelrepo(check, "repo", "--select", "DIM")
    _, line, caret, *_ = outcome.out.splitlines()
    assert len(line) < 120
    assert "^" in caret


def test_names_of_any_bytes_are_printed(modelrepo: ModelRepo, repository: Path) -> None:
    (repository / "net").rename(repository / "n\udcff\n\x1b[31m")
    for form in ("text", "json", "github", "sarif"):
        outcome = modelrepo(check, "repo", "--select", "DIM", "--format", form)
        assert outcome.code == 6
        outcome.out.encode()
        assert "\x1b" not in outcome.out


def test_json_is_one_object(modelrepo: ModelRepo, repository: Path) -> None:
    outcome = modelrepo(check, "repo", "--json", "--select", "DIM")
    (found,) = outcome.report["findings"]
    assert outcome.report["counts"] == {"error": 1, "warning": 0, "information": 0}
    assert (found["file"], found["line"], found["column"], found["code"]) == ("repo/net/config.pbtxt", 3, 56, "DIM")
    assert modelrepo(check, "repo", "--format", "json", "--select", "DIM").report == outcome.report


def test_an_error_is_json_too(modelrepo: ModelRepo, workdir: Path) -> None:
    outcome = modelrepo(check, "nothing", "--json")
    assert outcome.code == 6
    assert outcome.report["error"]["exit_code"] == 6


@pytest.mark.usefixtures("fixable")
def test_sarif_validates_against_its_schema(modelrepo: ModelRepo, repository: Path) -> None:
    schema = json.loads(SARIF.read_text("utf-8"))
    outcome = modelrepo(check, "repo", "--format", "sarif")
    jsonschema.Draft4Validator(schema).validate(outcome.report)
    (run,) = outcome.report["runs"]
    (result,) = run["results"]
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "repo/net/config.pbtxt", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 1, "startColumn": 1},
    }
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "NAMES"
    assert result["fixes"][0]["artifactChanges"][0]["replacements"][0]["insertedContent"] == {"text": '"other"'}


def test_sarif_of_everything_validates(modelrepo: ModelRepo, repository: Path) -> None:
    (repository / "b c#%").mkdir()
    outcome = modelrepo(check, "repo", "--format", "sarif", "--target-release", "24.10,26.09")
    jsonschema.Draft4Validator(json.loads(SARIF.read_text("utf-8"))).validate(outcome.report)
    assert "repo/b%20c%23%25" in outcome.out
    described = outcome.report["runs"][0]["tool"]["driver"]["rules"]
    texts = [rule[key]["text"] for rule in described for key in ("shortDescription", "fullDescription")]
    assert max(map(len, texts)) <= 1024  # more is not shown by GitHub


def test_sarif_is_the_same_wherever_it_is_made(
    modelrepo: ModelRepo, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = modelrepo(check, "repo", "--format", "sarif").report["runs"][0]
    assert near["originalUriBaseIds"]["%SRCROOT%"]["uri"] == f"{repository.parent.as_uri()}/"
    monkeypatch.setenv("GITHUB_WORKSPACE", str(repository.parent))
    monkeypatch.chdir("repo/net")
    for path in ("..", str(repository)):
        far = modelrepo(check, path, "--format", "sarif").report["runs"][0]
        assert [each["locations"] for each in far["results"]] == [each["locations"] for each in near["results"]]


def test_a_fingerprint_stays_when_lines_come_before_it(modelrepo: ModelRepo, repository: Path) -> None:
    def marks() -> list[str]:
        run = modelrepo(check, "repo", "--format", "sarif", "--select", "DIM").report["runs"][0]
        return [each["partialFingerprints"]["modelrepo/v1"] for each in run["results"]]

    twice = TEXT.replace("3, 0", "0, 0")
    (repository / "net/config.pbtxt").write_text(twice)
    before = marks()
    (repository / "net/config.pbtxt").write_text("# a line\n" + twice.replace("\tinput", "    input"))
    assert marks() == before
    assert len(set(before)) == 2


def test_a_folder_is_shown_by_the_configuration_in_it(modelrepo: ModelRepo, repository: Path) -> None:
    (repository / "net/1").rmdir()
    outcome = modelrepo(check, "repo", "--format", "github", "--select", "VDIR-NONE")
    assert outcome.out.startswith("::error file=repo/net/config.pbtxt,line=1,title=VDIR-NONE::repo/net: Triton")
    (result,) = modelrepo(check, "repo", "--format", "sarif", "--select", "VDIR-NONE").report["runs"][0]["results"]
    location = result["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == "repo/net/config.pbtxt"
    assert location["region"] == {"startLine": 1}
    assert result["message"]["text"].startswith("repo/net: Triton refuses the model")


def test_the_summary_of_a_job_is_cut_where_github_drops_it() -> None:
    problem = Problem(Place(Path("a|b.pbtxt")), "<x> " * 50, "Write | this")
    found = [Finding("X", "information", "net", problem), *[Finding("Y", "error", "net", problem)] * 5_000]
    text = as_markdown(found, "many")
    assert 800_000 < len(text) < 1 << 20
    assert "| error | <code>a&#124;b.pbtxt</code> | Y | &lt;x&gt; " in text
    assert " more, which are in the log" in text


def test_changed_files_name_their_models(modelrepo: ModelRepo, repository: Path) -> None:
    arguments = ("--select", "DIM", "--json", "--changed")
    report = modelrepo(check, *arguments, "repo/net/labels.txt", "README.md", "repo/net/1/gone").report
    assert (report["models"], [each["code"] for each in report["findings"]]) == (1, ["DIM"])
    assert modelrepo(check, *arguments, "repo/net", str(repository / "net/1/x/y")).report["models"] == 1
    assert modelrepo(check, *arguments, "README.md").report["models"] == 0
    assert modelrepo(check, *arguments).report["models"] == 0


def test_annotations_of_github_are_escaped() -> None:
    place = Place(Path("a,b:c%.pbtxt"), 3, 7)
    problem = Problem(place, "100% wrong:\nreally\r", "Write, this")
    assert as_github(Finding("X", "information", "net", problem, ("26.09",))) == (
        "::notice file=a%2Cb%3Ac%25.pbtxt,line=3,col=7,title=X::a,b:c%25.pbtxt:3:7: 100%25 wrong:%0Areally%0D "
        "(only 26.09)%0AWrite, this"
    )


@pytest.mark.usefixtures("fixable")
def test_fix_mends_and_says_what(modelrepo: ModelRepo, repository: Path) -> None:
    outcome = modelrepo(check, "repo", "--fix")
    assert (outcome.code, outcome.out) == (0, "nothing found in 1 model for Triton 26.09\n")
    assert outcome.err == "mended repo/net/config.pbtxt:1:1: NAMES\n"
    assert (repository / "net/config.pbtxt").read_text() == TEXT.replace('"net"', '"other"')


@pytest.mark.usefixtures("fixable")
def test_diff_changes_nothing(modelrepo: ModelRepo, repository: Path) -> None:
    outcome = modelrepo(check, "repo", "--diff")
    assert outcome.code == 6
    assert outcome.out.startswith("--- a/repo/net/config.pbtxt\n+++ b/repo/net/config.pbtxt\n@@ ")
    assert '-name: "net"\n+name: "other"\n' in outcome.out
    assert (repository / "net/config.pbtxt").read_text() == TEXT


@pytest.mark.usefixtures("fixable")
@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed")
def test_patch_reads_the_diff(modelrepo: ModelRepo, repository: Path) -> None:
    text = TEXT.replace("\n", "\r\n").encode() + b"# \xff \x0b \xc2\x85 \xe2\x80\xa8 end"
    (repository / "net/config.pbtxt").write_bytes(text)
    made = mended(findings("repo", chosen=rules.rules()))
    (repository.parent / "it.diff").write_bytes(b"".join(encoded(each.diff()) for each in made))
    run = subprocess.run(["patch", "--binary", "-p1", "-i", "it.diff"], cwd=repository.parent, capture_output=True)
    assert run.returncode == 0, run.stdout
    assert (repository / "net/config.pbtxt").read_bytes() == text.replace(b'"net"', b'"other"')


@pytest.mark.usefixtures("fixable")
def test_the_summary_names_fix(modelrepo: ModelRepo, repository: Path) -> None:
    assert modelrepo(check, "repo").out.endswith("1 error in 1 model for Triton 26.09; --fix mends 1 of them\n")


def test_warnings_count_with_strict(modelrepo: ModelRepo, repository: Path) -> None:
    (repository / "net/2.tmp").mkdir()
    assert modelrepo(check, "repo", "--select", "VDIR-NAME").code == 0
    assert modelrepo(check, "repo", "--select", "VDIR-NAME", "--strict").code == 6


def test_rules_are_selected_and_ignored(modelrepo: ModelRepo, repository: Path) -> None:
    (repository / "net/2.tmp").mkdir()
    (repository / "net/x").symlink_to("nowhere")
    found = modelrepo(check, "repo", "--json", "--select", "vdir,LINK", "--ignore", "VDIR-NAME").report["findings"]
    assert [each["code"] for each in found] == ["LINK"]
    assert_refused(modelrepo(check, "repo", "--select", "LINKS"), 2, "there is no rule 'LINKS'. Did you mean LINK")
    assert_refused(modelrepo(check, "repo", "--ignore", "NOTHING"), 2, "there is no rule 'NOTHING'")


def test_a_finding_names_the_releases(modelrepo: ModelRepo, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(case: Case) -> Any:
        yield Problem(Place(case.model.folder), "It was so", "Write other")

    rule = Rule("OLD", "error", "old", "It was so.", "Write other", found, before="26.01")
    monkeypatch.setattr("modelrepo.generator.lint.rules.rules", lambda: (rule,))
    outcome = modelrepo(check, "repo", "--target-release", "24.10, 26.09,24.10")
    assert outcome.out.startswith("repo/net: error OLD: It was so (only 24.10)\n")
    assert outcome.out.endswith("1 error in 1 model for Triton 24.10, 26.09\n")
    assert modelrepo(check, "repo").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--gpus", "many"), "--gpus can't be 'many'"),
        (("--gpus", "-1"), "--gpus can't be '-1'"),
        (("--memory", "0"), "--memory can't be '0'"),
        (("--memory", "16X"), "--memory can't be '16X'"),
        (("--target-release", "1.2"), "unknown target release '1.2'"),
        (("--target-release", ","), "--target-release names no release"),
        (("--fix", "--diff"), "--fix can't be combined with --diff"),
        (("--explain", "DIMM"), "there is no rule 'DIMM'. Did you mean DIM"),
        (("--format", "xml"), "'xml' is not one of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_option_is_refused(
    modelrepo: ModelRepo, repository: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert_refused(modelrepo(check, "repo", *arguments), 2, message)


def test_the_default_is_the_repository_of_the_file(modelrepo: ModelRepo, repository: Path) -> None:
    assert_refused(modelrepo(check), 6, "can't check model_repository: it is not there")
    (repository.parent / "modelrepo.toml").write_text('repository = "repo"')
    assert "in 1 model for" in modelrepo(check).out


def test_a_rule_is_explained(modelrepo: ModelRepo, workdir: Path) -> None:
    outcome = modelrepo(check, "--explain", "vdir-0")
    assert outcome.out.startswith("# VDIR-0: the number of a version begins with 0\n")
    assert "## What to write" in outcome.out


def test_rules_are_listed(modelrepo: ModelRepo, workdir: Path) -> None:
    listed = modelrepo(check, "--list-rules").out.splitlines()
    assert any(re.match(r"DIM +error +core +a dimension is 0", row) for row in listed)


def test_pages_of_several_rules_are_explained(modelrepo: ModelRepo, workdir: Path) -> None:
    def headings(codes: str) -> list[str]:
        lines = modelrepo(check, "--explain", codes).out.splitlines()
        return [line.partition(":")[0] for line in lines if line.startswith("# ")]

    assert headings("prio,DIM") == ["# PRIO", "# DIM"]
    assert "# ORT-DIM" in headings("ORT")
    assert_refused(modelrepo(check, "--explain", ""), 2, "there is no rule ''")


def test_listed_rules_are_selected(modelrepo: ModelRepo, workdir: Path) -> None:
    listed = modelrepo(check, "--list-rules", "--select", "DYN", "--ignore", "DYN-LIB").out.splitlines()
    assert [line.split()[0] for line in listed] == ["DYN-PREF", "DYN-MBS0", "DYN-DEF"]
    (rule,) = modelrepo(check, "--list-rules", "--json", "--select", "CACHE-OFF").report["rules"]
    assert (rule["code"], rule["severity"], rule["decided_by"]) == ("CACHE-OFF", "information", "core")
    assert modelrepo(check, "--list-rules", "--select", "DIM", "--ignore", "DIM").out == ""


def test_pages_and_tables_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    all_rules = rules.rules()
    lines = [line for rule in all_rules for line in wrapped(page(rule)).splitlines()]
    assert [line for line in [*lines, *table(all_rules)] if len(line) > 80 and " " in line.strip("`")[:80]] == []


def test_dynamo_differs(modelrepo: ModelRepo, repository: Path) -> None:
    (repository / "net/2").mkdir()
    text = TEXT.replace("3, 0", "3").replace("FP32", "FP16") + "version_policy { all {} }\n"
    (repository / "net/config.pbtxt").write_text(text)
    found = modelrepo(check, "repo", "--json", "--profile", "dynamo", "--select", "DYNAMO").report["findings"]
    assert [each["code"] for each in found] == ["DYNAMO-TYPE", "DYNAMO-TYPE", "DYNAMO-VP"]
    assert modelrepo(check, "repo", "--profile", "kserve", "--select", "DYNAMO").code == 0


def test_a_terminal_gets_lines_that_fit(repository: Path) -> None:
    (finding,) = findings("repo", chosen=[rule for rule in rules.rules() if rule.code == "DIM"])
    (whole, *_) = of_text(finding, Lines())
    lines = [click.unstyle(line) for line in of_text(finding, Lines(), 60)]
    first = next(number for number, line in enumerate(lines) if "|" in line)
    assert max(map(len, lines)) <= 60
    assert " ".join(line.strip() for line in lines[:first]) == click.unstyle(whole)
    marked, caret = lines[first : first + 2]
    assert marked[caret.index("^")] == "0"


def test_text_that_turns_the_direction_is_shown_as_a_mark(modelrepo: ModelRepo, repository: Path) -> None:
    (repository / "net/config.pbtxt").write_text(TEXT.replace('"x"', '"\u202ex"'))
    assert "\u202e" not in modelrepo(check, "repo", "--select", "DIM").out


def test_an_address_is_not_a_folder(modelrepo: ModelRepo, repository: Path) -> None:
    message = "can't check s3://bucket/models: only folders of this machine are checked"
    assert_refused(modelrepo(check, "s3://bucket/models"), 6, message)


def test_what_could_not_be_judged_ends_with_6(modelrepo: ModelRepo, repository: Path) -> None:
    (repository / "net/config.pbtxt").write_text("#" * (2 << 20))
    outcome = modelrepo(check, "repo", "--select", "CONFIG-SIZE")
    assert (outcome.code, outcome.out.splitlines()[-1]) == (6, "1 warning in 1 model for Triton 26.09")


def test_what_is_not_judged_is_said_unless_it_is_ignored(
    modelrepo: ModelRepo, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(case: Case) -> Any:
        raise ValueError("so it is")

    own = (Rule("OWN", "error", "own", "It is.", "Write other", failing), UNJUDGED)
    monkeypatch.setattr("modelrepo.generator.lint.rules.rules", lambda: own)
    outcome = modelrepo(check, "repo", "--select", "OWN")
    assert (outcome.code, "warning UNJUDGED: nothing is known of OWN" in outcome.out) == (6, True)
    assert modelrepo(check, "repo", "--ignore", "UNJUDGED").code == 0
    assert modelrepo(check, "--explain", "UNJUDGED").out.startswith("# UNJUDGED: a rule could not judge")


def test_notes_are_counted_and_shown_when_they_are_asked_for(modelrepo: ModelRepo, repository: Path) -> None:
    (repository / "net/config.pbtxt").write_text(TEXT.replace("3, 0", "3").replace('name: "net"', ""))
    hidden = modelrepo(check, "repo", "--ignore", "BACKEND")
    assert (hidden.code, hidden.out) == (0, "nothing found in 1 model for Triton 26.09; 1 note: --notes shows it\n")
    for arguments in (["--notes"], ["--select", "NAME-EMPTY"]):
        shown = modelrepo(check, "repo", "--ignore", "BACKEND", *arguments)
        assert "information NAME-EMPTY: " in shown.out
        assert "--notes" not in shown.out


def test_notes_are_in_every_format_for_programs(modelrepo: ModelRepo, repository: Path) -> None:
    (repository / "net/config.pbtxt").write_text(TEXT.replace('name: "net"', ""))
    for form in ("json", "sarif", "github"):
        assert "NAME-EMPTY" in modelrepo(check, "repo", "--format", form).out
