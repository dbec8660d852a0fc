"""Where a run that goes on is taken up."""

from __future__ import annotations

from unrolled.errors import ConfigurationError
from unrolled.runs.checkpoints import Checkpoint, load
from unrolled.runs.directory import Run
from unrolled.training.budget import Budget
from unrolled.training.configuration import TrainingConfig
from unrolled.verbs.listening import Listener

__all__ = ["is_begun", "take_up"]


def is_begun(run: Run, checkpoint: str) -> bool:
    """Whether there is a checkpoint to go on from; not where the run was stopped before its first was whole."""
    return checkpoint != "last" or (run.path / "last").exists() or any(int(name) > 0 for name in run.checkpoint_names())


def take_up(
    run: Run, checkpoint: str, training: TrainingConfig, batches: int, listener: Listener, *, extended: bool
) -> Checkpoint:
    """The checkpoint that a run goes on from.

    Args:
        run: the run.
        checkpoint: "last", "best" or a step.
        training: with the budget that it goes on to.
        batches: of a pass over the training data.
        listener: hears of steps that are given up.
        extended: whether the budget is a new one.

    Raises:
        RunError: there is no such checkpoint, or a file of it is damaged.
        ConfigurationError: the new budget is spent already.
    """
    loaded = load(run, checkpoint)
    spent = Budget.of(training, batches).progress(loaded.step, loaded.state["minutes"])
    if spent >= 1 and extended:
        raise ConfigurationError(
            "the new budget is spent already",
            got=f"{loaded.step} steps, {loaded.state['epoch']:.2f} epochs and {loaded.state['minutes']:.1f} minutes "
            "were trained",
            fix="give a larger one: it is counted from the beginning of the run",
        )
    latest = max(map(int, run.checkpoint_names()))
    if latest > loaded.step:
        listener.note(f"steps {loaded.step + 1} to {latest} are given up: going on from step {loaded.step}")
    return loaded
