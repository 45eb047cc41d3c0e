"""What a run has found of a model, and keeps."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What became of a model, measured with ``tools`` on a ``date``.

    ``exporter`` is empty where it was not exported, and ``reason`` where nothing failed. ``difference`` is relative to
    the answer's magnitude, the worst of this process and of Triton. ``seconds`` are those of `generate`, without the
    import of frameworks.
    """

    key: str
    exporter: str = ""
    verified: bool = False
    served: bool = False
    difference: float | None = None
    seconds: float = 0.0
    reason: str = ""
    notes: tuple[str, ...] = ()
    tools: str = ""
    date: str = ""
