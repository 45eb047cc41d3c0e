"""Progress: what is a warning, and what is not."""

from modelrepo.generator.progress import Listener, Progress, Remark


class Heard(Listener):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def shown(self, line: str) -> None:
        self.lines.append(line)

    def warned(self, message: str) -> None:
        self.lines.append(f"warning: {message}")


def test_a_remark_is_no_warning() -> None:
    heard = Heard()
    progress = Progress(heard)
    progress.tell(Remark("the best estimator is served"), "iris")
    progress.tell("it may be wrong", "iris")
    assert heard.lines == ["iris: the best estimator is served", "warning: iris: it may be wrong"]
    assert progress.warnings == ["iris: it may be wrong"]
