"""`train next` from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unrolled.data.made_sessions import make_sessions


def test_what_comes_next_from_end_to_end(unrolled: Callable[..., Any], tmp_path: Path) -> None:
    made = make_sessions(200, items=20, kinds=4)
    rows = [
        f"s{number},{begins + at},{item}\n"
        for number, (items, begins) in enumerate(zip(made.items, made.begins, strict=True))
        for at, item in enumerate(items)
    ]
    shop = tmp_path / "shop.csv"
    shop.write_text("session,time,item\n" + "".join(rows))
    done = unrolled(
        "train", "next", shop, "--session", "session", "--time", "time", "--steps", "2", "--hidden-size", "8",
        "--run", "runs/shop", "--precision", "float32",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "popularity" in done.out
    report = json.loads(unrolled("evaluate", "runs/shop", "--split", "test", "--json").out)
    assert report["opponents"]["popularity"]["hit_rate"]["20"] == 1
    (tmp_path / "new.txt").write_text("item0001 item0002\n")
    said = json.loads(unrolled("predict", "runs/shop", tmp_path / "new.txt").out)
    assert said["items"][0]["item"].startswith("item")


def test_the_demo(unrolled: Callable[..., Any]) -> None:
    done = unrolled("demo", "next", "--minutes", "0.001")
    assert done.status == 0, done.err
    assert "after item0001, item0004:" in done.out
    assert Path("runs/demo-next.csv").read_text().startswith("session,time,item\n1,1700000000,item")
    assert unrolled("demo", "next", "--run", "runs/other", "--minutes", "-1").status == 2
    assert not Path("runs/other.csv").exists()
