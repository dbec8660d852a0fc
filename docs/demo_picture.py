"""Draw the picture of the README from a real run: `.venv/bin/python docs/demo_picture.py` (two minutes of training).

What is drawn is what the terminal shows, less the bar (which moves) and most of the texts in between.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from rich.console import Console

from unrolled.cli.screen import Screen
from unrolled.training.events import Event, Stepped
from unrolled.verbs.demo import demo

PICTURE = Path(__file__).parent / "images" / "demo.svg"
_SHOWN = (0.0, 0.06, 1.0)  # shares of the training after which a text is drawn
_LENGTH = 160


class Recorder(Screen):
    """A screen that remembers what it showed."""

    def __init__(self) -> None:
        super().__init__()
        self.console = Console(record=True, width=100, force_terminal=True, highlight=False, file=io.StringIO())
        self._progress_now, self._left = 0.0, list(_SHOWN)

    def event(self, event: Event) -> None:
        if isinstance(event, Stepped):
            self._progress_now, self._stepped = event.progress, event
            return
        super().event(event)

    def sampled(self, step: int, text: str) -> None:
        if self._left and self._progress_now >= self._left[0]:
            self._left = [share for share in self._left if share > self._progress_now]
            self._shown = float("-inf")
            super().sampled(step, text[:_LENGTH])


def main() -> None:
    screen = Recorder()
    screen.console.print("[bold green]$[/] make demo")
    with tempfile.TemporaryDirectory() as folder, screen:
        trained = demo(Path(folder) / "demo", listener=screen)
    assert trained.valid is not None
    screen.console.print(
        f"held out: [bold]{trained.valid.nats_per_token:.4f} nats[/] a symbol, "
        f"{trained.valid.bits_per_character:.3f} bits a character, after {trained.minutes:.1f} minutes"
    )
    PICTURE.parent.mkdir(exist_ok=True)
    screen.console.save_svg(str(PICTURE), title="unrolled")


if __name__ == "__main__":
    main()
