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
    beside = unrolled("evaluate", "runs/shop", "--split", "test", "--baseline")
    assert beside.status == 0, beside.err
    assert "beside it: back-off, " in beside.out
    several = json.loads(unrolled("predict", "runs/shop", shop, "--top", "12", "--json").out)
    assert several["task"] == "next"
    assert len(several["items"]) == 200
    assert {len(each["items"]) for each in several["items"]} == {12}
    for wrong in (("--conll",), ("--horizon", "3")):
        refused = unrolled("predict", "runs/shop", shop, *wrong)
        assert (refused.status, wrong[0] in refused.err) == (2, True)
    picture = unrolled("evaluate", "runs/shop", "--picture", "a.png")
    assert picture.status == 2
    assert "leave --picture out" in picture.err
    for wrong in (("--protocol", "windows"), ("--dynamic", "rms"), ("--cache", "500"), ("--baseline", "ngram")):
        refused = unrolled("evaluate", "runs/shop", *wrong)
        assert (refused.status, wrong[0] in refused.err, "of language models" in refused.err) == (2, True, True)
    mixed = unrolled("evaluate", "runs/shop", "--mix", "runs/shop")
    assert (mixed.status, "labels are mixed" in mixed.err) == (2, True)


def test_the_demo(unrolled: Callable[..., Any]) -> None:
    done = unrolled("demo", "next", "--minutes", "0.001")
    assert done.status == 0, done.err
    assert "after item0001, item0004:" in done.out
    assert Path("runs/demo-next.csv").read_text().startswith("session,time,item\n1,1700000000,item")
    assert unrolled("demo", "next", "--run", "runs/other", "--minutes", "-1").status == 2
    assert not Path("runs/other.csv").exists()
