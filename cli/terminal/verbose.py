"""The flag `--verbose` of the commands that know command lines of NVIDIA's programs."""

import click

VERBOSE = click.option("--verbose", "-v", is_flag=True, help="Print the command lines of NVIDIA's programs.")
