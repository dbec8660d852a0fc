"""What people see while it works: bars, samples and notes, on standard error."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from unrolled.training.events import Event, Saved, Stepped, Validated
from unrolled.training.processes import is_first
from unrolled.verbs.listening import Listener

__all__ = ["Screen", "error_console", "printable", "stdout_console"]

_SAMPLE_SECONDS = 5.0  # samples that come faster are only written to the log


def error_console() -> Console:
    """Standard error: colour only on a terminal, and `:key:` in a name or a sample is no picture.

    Of several processes only the first one shows anything.
    """
    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False, quiet=not is_first())


class _Left(ProgressColumn):
    """Time left, as training estimates it."""

    def render(self, task: Task) -> Text:
        seconds = task.fields.get("left", 0.0)
        return Text(f"{int(seconds) // 60}:{int(seconds) % 60:02d} left", style="cyan")


class Screen(Listener):
    """Shows everything, with bars on a terminal and plain lines elsewhere.

    Args:
        quiet: show notes only.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.console = error_console()
        self._quiet = quiet
        self._bars: Progress | None = None
        self._bar: TaskID | None = None
        self._kind = ""
        self._loss = ""
        self._stepped: Stepped | None = None
        self._valid: float | None = None
        self._shown = -math.inf
        self._line = -math.inf
        self._leave: Callable[[], None] = lambda: None

    def __enter__(self) -> Screen:
        from unrolled.kernels.compiling import on_compiling  # with PyTorch, which not every command needs

        self._leave = on_compiling(self.compiling)
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        self._close()

    def compiling(self, what: str, seconds: float | None) -> None:
        """A dim line before something is compiled, which takes seconds once on a machine, and how long it took."""
        if seconds is None:
            self._close()
            self.console.print(f"[dim]compiling {escape(what)}, once on this machine ...[/]", end="")
        else:
            self.console.print(f"[dim] {seconds:.1f} s[/]")

    def preparing(self, done: int, total: int, phase: str) -> None:
        """A bar of bytes."""
        self._progress(f"{phase} {total / 1e6:.1f} MB", done, total)

    def reading(self, done: int, total: int) -> None:
        """A bar of symbols."""
        self._progress(f"reading {total:,} symbols", done, total)

    def note(self, text: str) -> None:
        """A line."""
        self.console.print(f"[yellow]note:[/] {escape(text)}")

    def doing(self, what: str) -> None:
        """A dim line."""
        if not self._quiet:
            self._close()
            self.console.print(f"[dim]{escape(what)} ...[/]")

    def done(self, what: str) -> None:
        """A line."""
        if not self._quiet:
            self._close()
            self.console.print(escape(what))

    def started(self, run: str, facts: dict[str, str], loss: str = "nats a symbol") -> None:
        """What was chosen."""
        self._loss = loss
        self._close()
        if self._quiet:
            return
        self.console.print(f"[bold]{escape(run)}[/]")
        for name, fact in facts.items():
            self.console.print(f"  [dim]{name:<9}[/] {escape(fact)}")

    def event(self, event: Event) -> None:
        """The bar of training, and a line a validation."""
        if self._quiet:
            return
        if isinstance(event, Stepped):
            self._stepped = event
            self._step(event)
        elif isinstance(event, Validated):
            self._valid = event.loss
            at = "" if self._stepped is None else f"  {100 * self._stepped.progress:3.0f}%"
            trained = "" if self._stepped is None else f", training {self._stepped.smoothed:.3f}"
            score = "" if event.score is None else f", {event.measure} {event.score:.4f}"
            self.console.print(
                f"{at}  step {event.step:,}: held out {self._told(event.loss)}{score}{trained}"
                f"{'  [green]best so far[/]' if event.best else ''}"
            )
        elif isinstance(event, Saved) and self._stepped is not None and self._stepped.progress >= 1:
            self._close()

    def sampled(self, step: int, text: str) -> None:
        """A text in a frame of its own, unless one was shown just now."""
        now = time.monotonic()
        if self._quiet or (now - self._shown < _SAMPLE_SECONDS and step > 0):
            return
        self._shown = now
        self.console.print(f"[magenta]── after {step:,} steps ──[/]\n{escape(printable(text))}")

    def _step(self, event: Stepped) -> None:
        facts = (
            f"step {event.step:,} epoch {event.epoch:.2f}  {event.targets_per_second / 1000:,.1f}k/s  "
            f"loss {event.smoothed:.3f}{self._units(event.smoothed)}  gradient {event.norm:.2f}"
        )
        if self.console.is_terminal:
            self._progress(facts, event.progress, 1.0, kind="training", left=event.seconds_left)
        elif time.monotonic() - self._line > 10:
            self._line = time.monotonic()
            self.console.print(f"  {100 * event.progress:3.0f}%  {facts}  {event.seconds_left:.0f} s left")

    def _told(self, loss: float) -> str:
        """A loss by its name; those of symbols in bits too."""
        unit, _, thing = self._loss.partition(" ")
        bits = f" ({loss / math.log(2):.3f} bits)" if thing == "a symbol" else ""
        return f"{loss:.4f} {unit}{bits} {thing}".rstrip()

    def _units(self, loss: float) -> str:
        return f" nats {loss / math.log(2):.3f} bits" if self._loss == "nats a symbol" else ""

    def _progress(self, text: str, done: float, total: float, kind: str = "", left: float | None = None) -> None:
        if self._quiet or not self.console.is_terminal:
            return
        kind = kind or text
        if self._bars is None or kind != self._kind:
            self._close()
            columns: list[ProgressColumn] = [BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f}%")]
            columns += [TextColumn("{task.description}")] + ([_Left()] if left is not None else [])
            # What is printed goes where it is meant to: by default a bar takes standard output to its own console.
            self._bars = Progress(
                *columns, console=self.console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._bars.start()
            self._bar, self._kind = self._bars.add_task(escape(text), total=total), kind
        assert self._bar is not None
        self._bars.update(self._bar, completed=done, description=escape(text), left=left or 0.0)

    def _close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def printable(text: str) -> str:
    """A text without what would move the cursor or colour the terminal."""
    return "".join(symbol if symbol.isprintable() or symbol in "\n\t" else "\ufffd" for symbol in text)


def stdout_console() -> Console:
    """Standard output, for tables: as wide as they are where it is no terminal."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 1000)
