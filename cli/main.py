"""`modelrepo`: a verb for each command; its module is imported when it is called."""

import importlib
from importlib import metadata

import click

from modelrepo.generator.errors import nearest

# verb -> the module with a command of this name, and its line in the help page.
COMMANDS = {
    "generate": ("modelrepo.cli.commands.generate", "Convert, verify and publish models."),
    "models": ("modelrepo.cli.commands.models", "List the models that `generate --model` accepts."),
    "check": ("modelrepo.cli.commands.check", "Say what Triton would say of a model repository."),
    "inspect": ("modelrepo.cli.commands.inspect", "Say what a model file is, and what could serve it."),
    "serve": ("modelrepo.cli.commands.serve", "Run a real Triton on a model repository."),
    "infer": ("modelrepo.cli.commands.infer", "Ask a model that is served, or that is in a repository."),
    "show": ("modelrepo.cli.commands.show", "Say what a published model is, and how to ask it."),
    "diff": ("modelrepo.cli.commands.diff", "Compare two versions of a model."),
    "versions": ("modelrepo.cli.commands.versions", "List the versions of models, and which are served."),
    "rollback": ("modelrepo.cli.commands.rollback", "Serve an earlier version again."),
    "promote": ("modelrepo.cli.commands.promote", "Serve a version, or several at a time."),
    "prune": ("modelrepo.cli.commands.prune", "Remove versions that are not served."),
    "remove": ("modelrepo.cli.commands.remove", "Remove models."),
    "smoke": ("modelrepo.cli.commands.smoke", "Ask a running server whether it serves what was published."),
    "plans": ("modelrepo.cli.commands.plans", "Finish TensorRT plans: status, build, verify."),
    "bench": ("modelrepo.cli.commands.bench", "Measure, compare and load-test served models."),
    "compare": ("modelrepo.cli.commands.compare", "Compare precisions and backends of one model."),
    "doctor": ("modelrepo.cli.commands.doctor", "Show what this machine has and lacks, and how to get it."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a verb's command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb that is called; UsageError with the nearest ones for another word."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}. {nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metadata.version("modelrepo"), prog_name="modelrepo")
def modelrepo() -> None:
    """Turn source models into a Triton model repository that is already proven."""
