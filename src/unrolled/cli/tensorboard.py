"""Metrics for TensorBoard, beside what the screen shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unrolled.cli.screen import Screen
from unrolled.errors import ConfigurationError
from unrolled.training.events import Event, Stepped, Validated

__all__ = ["TensorBoardScreen"]


class TensorBoardScreen(Screen):
    """A screen that writes metrics to a directory as well.

    Args:
        directory: where event files go.

    Raises:
        ConfigurationError: tensorboard is not installed.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigurationError(
                "--tensorboard needs the package tensorboard", fix="pip install 'unrolled[tensorboard]'"
            ) from error
        self._writer: Any = SummaryWriter(str(directory))

    def event(self, event: Event) -> None:
        """Scalars under the names of the metrics log."""
        super().event(event)
        if isinstance(event, Stepped):
            for name in ("loss", "smoothed", "norm", "rate", "targets_per_second"):
                self._writer.add_scalar(f"train/{name}", getattr(event, name), event.step)
        elif isinstance(event, Validated):
            self._writer.add_scalar("valid/loss", event.loss, event.step)

    def sampled(self, step: int, text: str) -> None:
        """The text too."""
        super().sampled(step, text)
        self._writer.add_text("sample", text, step)

    def __exit__(self, *details: object) -> None:
        self._writer.close()
        super().__exit__(*details)
