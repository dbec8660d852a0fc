"""`benchmarks` lies beside `src` and is not installed: tests find it in the checkout."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
