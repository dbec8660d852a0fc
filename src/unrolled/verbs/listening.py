"""What a verb tells while it works: whoever wants to show it derives from `Listener`."""

from __future__ import annotations

from unrolled.training.events import Event

__all__ = ["Listener", "counted"]


def counted(number: int, what: str, more: str = "s") -> str:
    """A number of things in words: "1 thread", "2 threads"; `more` is what several have at their end."""
    return f"{number:,} {what}{'' if number == 1 else more}"


class Listener:
    """Hears everything and shows nothing."""

    def preparing(self, done: int, total: int, phase: str) -> None:
        """The text is being prepared: bytes done, of how many, doing what."""

    def note(self, text: str) -> None:
        """Something a user wants to know: what was chosen, what was left out."""

    def doing(self, what: str) -> None:
        """Something that takes a few seconds begins."""

    def done(self, what: str) -> None:
        """What something came to that took a while."""

    def started(self, run: str, facts: dict[str, str], loss: str = "nats a symbol") -> None:
        """Training begins: the run's directory, what was chosen by name, and what the loss is called."""

    def event(self, event: Event) -> None:
        """What training tells."""

    def sampled(self, step: int, text: str) -> None:
        """A text the model made after so many steps."""

    def reading(self, done: int, total: int) -> None:
        """A text is being read by a trained model: symbols done, of how many."""
