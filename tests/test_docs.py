"""Every `pycon` block of the pages runs and prints what the page says; the blocks of a page share their names."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```pycon\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [page for page in [*ROOT.glob("README.md"), *sorted(ROOT.glob("docs/*.md"))] if BLOCK.search(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_a_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text()
    # All that is not an example becomes empty lines, so that a failure names the line of the page.
    kept, end = "", 0
    for block in BLOCK.finditer(text):
        kept += "\n" * text.count("\n", end, block.start(1)) + block[1]
        end = block.end(1)
    examples = doctest.DocTestParser().get_doctest(kept, {"__name__": "__main__"}, page.name, str(page), 0)
    monkeypatch.chdir(tmp_path)  # what an example writes stays out of the checkout
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(examples, out=report.append)
    assert not report, "".join(report)
