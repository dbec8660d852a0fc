"""The command line: it parses, shows progress and prints; the work is done by `verbs`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 the machine or the program failed, 2 wrong input, 130 interrupted."""
    from unrolled.errors import UnrolledError

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        from unrolled.cli.app import run

        run(given)
        sys.stdout.flush()
        status = 0
    except UnrolledError as error:
        print(f"unrolled: {error}", file=sys.stderr)
        status = error.exit_status
    except KeyboardInterrupt:
        print("unrolled: interrupted", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # Whoever read our output has seen enough (`unrolled sample ... | head`). Python would complain once more as it
        # closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:
        if os.environ.get("UNROLLED_TRACEBACK"):
            raise
        print(f"unrolled: failed: {type(error).__name__}: {error}", file=sys.stderr)
        print("  what to do: set UNROLLED_TRACEBACK=1 to see where, and report it", file=sys.stderr)
        status = 1
    sys.exit(status)
