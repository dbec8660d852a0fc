"""The next item of a session: ranks, opponents, the network, and all of it from the command line."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled import resume
from unrolled.cells import find_cell
from unrolled.data.made_sessions import make_sessions
from unrolled.data.ragged import Ragged
from unrolled.data.store import SplitSources
from unrolled.errors import ConfigurationError, DataError, Interrupted
from unrolled.tasks.events.configuration import EventsConfig, NextConfig
from unrolled.tasks.events.kind import Next
from unrolled.tasks.events.model import EventBatch, NextItem
from unrolled.tasks.events.opponents import Opponents
from unrolled.tasks.events.ranking import Ranks, ranks_of
from unrolled.training.events import Event, Stepped
from unrolled.verbs.listening import Listener
from unrolled.verbs.supervised import open_task, train_task


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=5), st.integers(0, 2))
def test_a_rank_is_the_mean_place_of_equals(scores: list[list[int]], item: int) -> None:
    found = ranks_of(np.array(scores, float), np.full(len(scores), item))
    for row, rank in zip(scores, found, strict=True):
        places = [place for place, score in enumerate(sorted(row, reverse=True), 1) if score == row[item]]
        assert rank == sum(places) / len(places)


def test_measures_by_hand() -> None:
    ranks = Ranks(np.array([1.0, 2.0, 6.0, 30.0, np.inf]), np.array([0.5, 1.0, 2.0, 4.5, np.inf]))
    found = ranks.describe()
    assert found["hit_rate"] == {"1": 0.2, "5": 0.4, "10": 0.6, "20": 0.6}
    assert found["mrr"]["10"] == pytest.approx((1 + 1 / 2 + 1 / 6) / 5)
    assert found["mrr"]["1"] == 0.2
    assert found["nats"] == 2.0


def sessions(count: int, seed: int, items: int = 6) -> Ragged:
    """Each item is followed by the next one, mostly."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        at, found = int(random.integers(items)), []
        for _ in range(int(random.integers(2, 8))):
            found.append(at + 1)
            at = (at + 1) % items if random.random() < 0.8 else int(random.integers(items))
        made.append(np.array(found, np.int64))
    return Ragged.of(made)


def test_opponents_give_every_item_a_probability() -> None:
    train, valid, test = sessions(200, 0), sessions(50, 1), sessions(50, 2)
    opponents = Opponents(train, valid, 7)
    found = opponents.ranks(test)
    assert list(found)[:2] == ["popularity", "Markov chain"]
    events = int(test.lengths.sum()) - len(test)
    assert all(len(ranks.ranks) == len(ranks.nats) == events for ranks in found.values())
    # Popularity: how often an item stands in the training part, whatever came before.
    counts = Counter(train.values.tolist())
    order = [item for item, _ in counts.most_common()]
    targets = [item for at in range(len(test)) for item in test[at][1:].tolist()]
    assert found["popularity"].ranks.tolist() == [order.index(item) + 1 for item in targets]
    expected = -np.mean([math.log(counts[item] / len(train.values)) for item in targets])
    assert found["popularity"].nats.mean() == pytest.approx(expected, rel=0.02)  # discounts
    # The chain: the follower first.
    pairs = Counter(
        (int(a), int(b)) for at in range(len(train)) for a, b in zip(train[at][:-1], train[at][1:], strict=True)
    )
    best = [
        max(range(1, 7), key=lambda item: pairs[before, item])
        for at in range(len(test))
        for before in test[at][:-1].tolist()
    ]
    right = np.mean([one == other for one, other in zip(best, targets, strict=True)])
    assert found["Markov chain"].describe()["hit_rate"]["1"] == pytest.approx(right, abs=0.02)
    assert found["Markov chain"].nats.mean() < found["popularity"].nats.mean() - 0.5


def test_an_item_that_training_never_saw_is_never_found() -> None:
    found = Opponents(sessions(20, 0), Ragged.of([], np.empty(0, np.int64)), 7).ranks(Ragged.of([np.array([1, 0, 2])]))
    for ranks in found.values():
        assert np.isinf(ranks.ranks).tolist() == [True, False]
        assert np.isinf(ranks.nats).tolist() == [True, False]


def network(tied: bool = True) -> NextItem:
    torch.manual_seed(0)
    config = NextConfig(hidden_size=5, embedding_size=4, dropout=0.0, tied=tied)
    return NextItem(find_cell("gru"), 7, config).eval()


@pytest.mark.parametrize("tied", [True, False])
def test_a_session_in_a_batch_is_as_it_is_alone(tied: bool) -> None:
    model, found = network(tied), [np.array([1, 2, 3, 4, 5]), np.array([6, 1]), np.array([2, 2, 0])]
    ids, lengths = Ragged.of(found).padded(np.arange(3))
    ids[1, 2:], ids[2, 3:] = 5, 6  # what stands after the end does not matter
    together, items = model.targets(EventBatch(torch.from_numpy(ids), torch.from_numpy(lengths - 1)))
    alone = [
        model.targets(EventBatch(torch.from_numpy(each[None]), torch.tensor([len(each) - 1])))[0] for each in found
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-6, atol=1e-6)
    assert items.tolist() == [2, 3, 4, 5, 1, 2, 0]
    assert (together[:, 0] == -torch.inf).all()
    outcome = model.loss(EventBatch(torch.from_numpy(ids), torch.from_numpy(lengths - 1)))
    assert outcome.targets == 6  # the unknown item is no target
    expected = -together.log_softmax(1)[torch.arange(6), items[:6]].sum()
    torch.testing.assert_close(outcome.total, expected)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of events of made sessions, its rows out of order."""
    made, rows = make_sessions(300, items=20, kinds=4), []
    for number, (items, begins) in enumerate(zip(made.items, made.begins, strict=True)):
        rows += [f"s{number},{begins + at},{item}" for at, item in enumerate(items)]
    np.random.default_rng(0).shuffle(rows)
    path = tmp_path_factory.mktemp("data") / "shop.csv"
    path.write_text("session,time,item\n" + "".join(f"{row}\n" for row in rows))
    return path


OPTIONS = {"session": "session", "time": "time", "hidden_size": 8, "precision": "float32", "threads": 1}


def test_training_evaluating_predicting(shop: Path, tmp_path: Path) -> None:
    trained = train_task("next", [str(shop)], run=tmp_path / "run", steps=12, **OPTIONS)
    assert trained.valid is not None
    opened = open_task(trained.run)
    report = opened.evaluate("test")
    assert set(report["opponents"]) > {"popularity", "Markov chain"}
    assert set(report["hit_rate"]) == {"1", "5", "10", "20"}
    assert report["sessions"] == 30
    json.dumps(report)
    assert "Markov chain" in opened.kind.summary(report)
    said = next(iter(opened.predict(["item0001 item0002 hat"])))
    assert said["unknown"] == ["hat"]
    assert len(said["items"]) == 10
    assert said["items"][0]["probability"] >= said["items"][1]["probability"]
    assert next(iter(opened.predict([""])))["items"]  # nothing came before


def test_prediction_of_tables_as_they_were_trained_on(shop: Path, tmp_path: Path) -> None:
    opened = open_task(train_task("next", [str(shop)], run=tmp_path / "run", steps=1, **OPTIONS).run)
    rows = "time,session,item\n2,b,item0002\n1,b,item0001\n1,a,hat\n"
    (tmp_path / "new.csv").write_text(rows)
    alone = next(iter(opened.predict(["item0001 item0002"])))
    found = list(opened.predict_file(str(tmp_path / "new.csv")))
    assert [one["session"] for one in found] == ["b", "a"]
    assert found[0]["items"] == alone["items"] == next(iter(opened.predict([["item0001", "item0002"]])))["items"]
    assert found[1]["unknown"] == ["hat"]
    (tmp_path / "new").write_text(rows)
    assert len(list(opened.predict_file(str(tmp_path / "new")))) == 4
    assert list(opened.predict_file(str(tmp_path / "new"), "csv")) == found
    with pytest.raises(ConfigurationError, match="did you mean 'csv'"):
        list(opened.predict_file(str(tmp_path / "new"), "cvs"))
    listed = {**opened.options, "data": EventsConfig(sequence="what", time=None)}
    (tmp_path / "new.jsonl").write_text('{"what": ["hat", "item0001"]}\n')
    (source,) = SplitSources.find([str(tmp_path / "new.jsonl")]).text
    assert list(opened.kind.read_inputs([source], listed)) == [({"line": 1}, ("hat", "item0001"))]
    with pytest.raises(DataError, match="trained on lines"):
        list(opened.kind.read_inputs([source], {**opened.options, "data": EventsConfig()}))


def test_beside_other_data_stand_no_opponents_that_were_fitted_to_it(shop: Path, tmp_path: Path) -> None:
    trained = train_task("next", [str(shop)], run=tmp_path / "run", steps=1, **OPTIONS)
    opened = open_task(trained.run)
    report = opened.evaluate_file(str(shop))
    assert report["opponents"] == {}
    assert report["sessions"] == 300
    assert "network" in opened.kind.summary(report)


class _Stopping(Listener):
    """Stops a training after so many steps."""

    def event(self, event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 5:
            raise KeyboardInterrupt


def test_a_run_that_was_stopped_ends_with_the_same_bits(shop: Path, tmp_path: Path) -> None:
    whole = train_task("next", [str(shop)], run=tmp_path / "whole", steps=8, **OPTIONS).run
    half = tmp_path / "half"
    with pytest.raises((Interrupted, KeyboardInterrupt)):
        train_task("next", [str(shop)], run=half, steps=8, checkpoint_every=3, listener=_Stopping(), **OPTIONS)
    resume(half)
    names = [run / "checkpoints" / "000000008" / "model.safetensors" for run in (whole, half)]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_the_latest_sessions_are_the_test(shop: Path, tmp_path: Path) -> None:
    trained = train_task("next", [str(shop)], run=tmp_path / "run", steps=1, **OPTIONS)
    opened = open_task(trained.run)
    sources = SplitSources.find([str(shop)])
    prepared = opened.kind.prepare(sources, opened.options, opened.run.vocabulary)
    made = make_sessions(300, items=20, kinds=4)
    numbers = {item: number for number, item in enumerate(opened.run.vocabulary["items"], 1)}
    test: Any = prepared.parts["test"]
    assert test.sessions[0].tolist() == [numbers.get(item, 0) for item in made.items[270]]


def test_long_sessions_are_cut_and_each_event_is_predicted_once(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("a b c d e f g h i j k\nb a\nc\n" * 10)
    config = EventsConfig(max_length=4, split="100/0/0")
    prepared = Next().prepare(SplitSources.find([str(path)]), {"data": config, "model": NextConfig()})
    train: Any = prepared.parts["train"]
    assert int(train.lengths.sum()) == 10 * (10 + 1)
    assert train.lengths.max() == 3


def test_wrong_options_and_data(tmp_path: Path) -> None:
    for options in (
        *({"session": "a", "sequence": "b"}, {"time": "t"}, {"split_by": "time"}, {"max_length": 1}),
        *({"session": "a", "separator": ","}, {"sequence": "a", "item": "b"}),
    ):
        with pytest.raises(ConfigurationError):
            EventsConfig(**options)  # type: ignore[arg-type]
    for text, message in (("a\nb\nc\n" * 5, "no session has two events"), ("a a\n" * 20, "too few items")):
        (tmp_path / "few.txt").write_text(text)
        with pytest.raises(DataError, match=message):
            train_task("next", [str(tmp_path / "few.txt")], run=tmp_path / "run", steps=1)
        assert not (tmp_path / "run").exists()
