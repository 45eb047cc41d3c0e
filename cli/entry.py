"""Where the console scripts start: everything else is imported from here, so that Ctrl-C is answered from the start."""


def generate() -> None:
    """Run `generate`."""
    _start("modelrepo.cli.commands.generate", "generate")


def modelrepo() -> None:
    """Run `modelrepo`."""
    _start("modelrepo.cli.main", "modelrepo")


def _start(module: str, name: str) -> None:
    import gc
    import os
    import sys
    from functools import partial

    if "generate" in (name, *sys.argv[1:2]):
        from modelrepo.cli.supervisor import supervise

        supervise(partial(_end, module, name))
    # Importing and tracing make millions of objects that live to the end; the pipeline collects between models.
    gc.disable()
    try:
        from importlib import import_module

        errors = import_module("modelrepo.cli.terminal.errors")
        code = errors.run(getattr(import_module(module), name), name)
        for stream in (sys.stdout, sys.stderr):
            if stream:  # the parent process may have closed it
                stream.flush()
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        code = 130
    except OSError as error:
        what = error.filename or "can't print the result"
        sys.stderr.write(f"error: {what}: {error.strerror}\n")
        code = 1
    # At once: taking torch and its garbage apart first would cost another second.
    os._exit(code)


def _end(module: str, name: str, message: str, code: int) -> None:
    """Print how a command has ended, whose own process could not."""
    from importlib import import_module

    import_module("modelrepo.cli.terminal.errors").show_end(getattr(import_module(module), name), message, code)
