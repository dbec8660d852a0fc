"""The command line: it parses, shows progress and prints; the work is done by `verbs`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 the machine or the program failed, 2 wrong input, 130 interrupted."""
    # Threads that wait for each other sleep soon instead of spinning. On two cores beside one busy process a model of
    # 2x256 trained at 8,700 characters a second so and at 4,200 without, one run each; on idle ones about as fast.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if "WORLD_SIZE" in os.environ:
        # Where another process is gone, PyTorch's network prints where in its own source it noticed.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Where the terminal cannot show a character, its number is shown.
        sys.stdout.reconfigure(errors="backslashreplace")
    status = _run(given)
    try:
        sys.stdout.flush()
    except OSError:
        # What is left cannot be written, and Python would try again, and complain, as it closes the stream.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _run(arguments: Sequence[str]) -> int:
    """Run one command: its exit status, after the error, if there was one, was printed."""
    from unrolled.errors import UnrolledError
    from unrolled.training.processes import is_first

    try:
        from unrolled.cli.app import run

        run(arguments)
        sys.stdout.flush()
    except UnrolledError as error:
        return error.exit_status if error.told else _failed(str(error), error.exit_status)
    except KeyboardInterrupt:
        return _failed("interrupted", 130) if is_first() else 130
    except BrokenPipeError:
        # Whoever read our output has seen enough: `unrolled sample ... | head`.
        return 0
    except Exception as error:
        if os.environ.get("UNROLLED_TRACEBACK"):
            raise
        if isinstance(error, OSError) and error.strerror:
            return _failed(error.strerror + (f"\n  where: {error.filename}" if error.filename else ""), 1)
        advice = "what to do: set UNROLLED_TRACEBACK=1 to see where, and report it"
        return _failed(f"failed: {type(error).__name__}: {error}\n  {advice}", 1)
    return 0


def _failed(message: str, status: int) -> int:
    rank = os.environ.get("RANK", "0")
    which = "" if rank == "0" else f" (process {rank})"
    with contextlib.suppress(OSError):
        print(f"unrolled{which}: {message}", file=sys.stderr)
    return status
