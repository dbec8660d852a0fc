"""Tagging: many to many, direct. A tag for every word of a sentence, or a label for every frame of a series."""

from __future__ import annotations
