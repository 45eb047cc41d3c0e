"""`generate`: convert models, verify them, and publish them in a Triton model repository."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

import click

from modelrepo.cli.terminal.as_json import json_flag
from modelrepo.cli.terminal.verbose import VERBOSE
from modelrepo.generator.errors import OptionError
from modelrepo.generator.options import config_file, fields, resolve
from modelrepo.generator.options.fields import FIELDS, MOST_USED, RUN, Field

if TYPE_CHECKING:
    from modelrepo.generator.pipeline.gate import Gate
    from modelrepo.generator.pipeline.job import Job
    from modelrepo.generator.progress import Progress
    from modelrepo.generator.sources.told import Told
    from modelrepo.generator.specs.ensembles import EnsembleSpec
    from modelrepo.generator.specs.options import RunOptions

# The groups of the options that are not fields.
OWN_GROUPS = {"dry_run": MOST_USED}
EXAMPLES = """
\b
Examples:
  generate --model net.onnx
  generate --model resnet50 --backends onnx,tensorrt
  generate --model resnet50 --weights fine_tuned.safetensors --max-batch-size 32
  generate --model resnet18 --instances gpu:2 --preferred-batch-sizes 4,8 --queue-delay-us 100
  generate --model resnet50 --backends onnx:fp16,tensorrt:int8 --calibration photos/
  generate --model resnet50 --precision int8 --keep-precise auto --max-accuracy-drop 2%
  generate --model resnet50 --prune 2:4 --backends tensorrt:fp16
  generate                     every model and ensemble of modelrepo.toml
  generate --dry-run --json    what would be done, as JSON

\b
Exit codes:
  0 done            3 source          6 repository
  1 unexpected      4 conversion      9 deferred, with --strict
  2 usage           5 verification    7 server, with --live-check require
                                      130 interrupted
"""


class GroupedHelp(click.Command):
    """A command that shows its options in groups: those of ``FIELDS``, then its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options; UsageError for words without one, which are meant as models."""
        super().parse_args(ctx, args)
        if ctx.args:
            named = " ".join(f"--model {quote(each)}" for each in ctx.args)
            ctx.fail(f"there is no option before {ctx.args[0]!r}. Name models with {named}")
        return ctx.args

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            field = FIELDS.get(parameter.name or "")
            if record:
                sections.setdefault(field.group if field else OWN_GROUPS.get(str(parameter.name), RUN), []).append(
                    record
                )
        for group, records in sections.items():
            with formatter.section(group):
                formatter.write_dl(records)


def field_flags(function: Callable[..., None]) -> Callable[..., None]:
    """Add a flag for every option of ``FIELDS``; one that is not given is None, so that the file's value stands."""
    for name, field in reversed(FIELDS.items()):
        if not field.flag:
            continue
        flag = f"--{name.replace('_', '-')}"
        kwargs: dict[str, Any] = {}
        if isinstance(field.default, bool):
            flag += f"/--no-{flag.removeprefix('--')}"
        else:
            kwargs = {"metavar": field.metavar, "multiple": name == "model"}
        function = click.option(flag, name, default=None, help=_help(field), **kwargs)(function)
    return function


def _help(field: Field) -> str:
    """Return a field's help with its default, if the text does not name it already."""
    plain = isinstance(field.default, (int, str, Path)) and not isinstance(field.default, bool)
    named = not plain or field.default == "" or "Default:" in field.help
    return field.help if named else f"{field.help} Default: {field.default}."


@click.command(
    cls=GroupedHelp,
    epilog=EXAMPLES,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
        "allow_extra_args": True,  # they are refused with a hint
    },
)
@field_flags
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@click.option("--config", type=click.Path(path_type=Path), help="File of options; default: ./modelrepo.toml.")
@click.option("--strict", is_flag=True, help="Exit with 9 if a backend was deferred.")
@json_flag("Print the report as one JSON object.", empty={"repository": None, "results": [], "seconds": {}})
@click.option("--quiet", "-q", is_flag=True, help="No progress, only warnings, errors and the report.")
@VERBOSE
def generate(
    config: Path | None, strict: bool, dry_run: bool, as_json: bool, quiet: bool, verbose: bool, **given: Any
) -> None:
    """Convert source models for Triton, compare them with their source, and publish them.

    Without --model, every model of modelrepo.toml is generated. Flags win over the file. A model is exported again
    only if its content would change.
    """
    from modelrepo.cli.terminal import report
    from modelrepo.generator.ensembles.run import generate as run
    from modelrepo.generator.progress import Progress

    jobs, ensembles, told, options = _jobs(given, config)
    progress = Progress(report.Follower(quiet, verbose))
    for each in told:
        if each.remark:
            progress.show(each.remark)
        if each.doubt:
            progress.warn(each.doubt)
    with _gate(options.live_check, progress) as gate:
        outcome = run(jobs, ensembles, options, progress, dry_run=dry_run, gate=gate)
    if as_json:
        report.print_json(outcome)
    else:
        report.print_table(outcome, verbose)
    raise click.exceptions.Exit(report.show_failures(outcome, strict))


@contextmanager
def _gate(mode: Literal["auto", "require", "off"], progress: "Progress") -> "Iterator[Gate | None]":
    if mode == "off":
        yield None
        return
    from modelrepo.server.checking.live_check import LiveCheck

    with LiveCheck(mode, progress) as gate:
        yield gate


def _jobs(given: dict[str, Any], config: Path | None) -> "tuple[list[Job], list[EnsembleSpec], list[Told], RunOptions]":
    from modelrepo.generator.ensembles import run, texts
    from modelrepo.generator.pipeline.job import Job

    file = config_file.load_config(config)
    flags = {
        name: fields.parse_field(name, value, f"--{name.replace('_', '-')}")
        for name, value in given.items()
        if value is not None and name != "model"
    }
    named = tuple(dict.fromkeys(given["model"] or (*file.models, *file.ensembles)))
    if not named:
        raise OptionError(
            "there is no model to generate", "Name one with --model, or in a [models.NAME] table of modelrepo.toml"
        )
    models = [each for each in named if each not in file.ensembles]
    ensembles = [file.ensembles[each] for each in named if each in file.ensembles]
    resolved = [resolve.resolve(flags, file, model) for model in models]
    told = [resolve.taken(file, model) for model in models]
    own, of_texts = texts.planned([Job(name, run.with_pixels(each)) for name, each in resolved])
    jobs = [*own, *run.jobs_of(ensembles, flags, file)]
    return jobs, [*of_texts, *ensembles, *run.decoding(own)], told, resolve.resolve_run(flags, file)
