"""JSON files that carry the checksum of their own content, so that one changed byte is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unrolled.errors import RunError
from unrolled.files import write_atomically

__all__ = ["FORMAT", "read_sealed", "seal", "write_sealed"]

FORMAT = 1
"""The version of the run directory that this program writes and reads."""

_SEAL = "sha256"


def _encode(value: Mapping[str, Any]) -> bytes:
    # The name of a file need not be UTF-8; Python then has it with lone surrogates, which `json.loads` takes as well.
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="surrogatepass")


def seal(value: Mapping[str, Any]) -> bytes:
    """`value` as indented JSON whose last key, `sha256`, is the checksum of the same JSON without that key.

    Raises:
        ValueError: a number is not finite, or `value` has a key `sha256` of its own.
    """
    if _SEAL in value:
        raise ValueError(f"the key {_SEAL!r} is taken by the checksum")
    return _encode({**value, _SEAL: hashlib.sha256(_encode(value)).hexdigest()})


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` sealed, whole or not at all (`StorageError`, and `ValueError` as `seal`)."""
    write_atomically(path, seal(value))


def read_sealed(path: Path, *, versioned: bool = True) -> dict[str, Any]:
    """What `write_sealed` wrote.

    Args:
        path: the file.
        versioned: whether `value["format"]` must be `FORMAT`. It is looked at before the checksum, so that a file of
            another version is called that and not damaged.

    Raises:
        RunError: the file is missing, cut short, not JSON, of another version, or no longer what was written.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path.name} is missing", where=str(path)) from None
    except OSError as error:
        raise RunError(f"{path.name} cannot be read: {error.strerror or error}", where=str(path)) from error
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        cut = not content.endswith(b"\n}\n")  # as every file of ours does, and only at its end
        raise RunError(
            f"{path.name} is {'cut short' if cut else 'damaged'}",
            expected="one whole JSON object",
            got=f"{len(content)} bytes: {error}",
            where=str(path),
        ) from None
    if not isinstance(value, dict):
        raise RunError(f"{path.name} is damaged", expected="a JSON object", got=type(value).__name__, where=str(path))
    if versioned and value.get("format") != FORMAT:
        raise RunError(
            f"{path.name} is of another version of the run format",
            expected=f'"format": {FORMAT}',
            got=f'"format": {json.dumps(value["format"])}' if "format" in value else "no format",
            where=str(path),
            fix="use the version of unrolled that wrote it",
        )
    value.pop(_SEAL, None)
    try:
        intact = seal(value) == content
    except ValueError:  # NaN or Infinity: never written by us
        intact = False
    if not intact:
        raise RunError(
            f"{path.name} was changed after it was written",
            expected="content that agrees with the checksum in its last line",
            where=str(path),
        )
    return value
