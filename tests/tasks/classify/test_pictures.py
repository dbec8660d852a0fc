from __future__ import annotations

from dataclasses import asdict

import hypothesis
import hypothesis.strategies as some
import numpy as np
import pytest
import torch

from unrolled.cells import find_cell
from unrolled.data.labelled_configuration import LabelledConfig
from unrolled.data.picture_inputs import PictureInput
from unrolled.errors import DataError
from unrolled.tasks.classify.configuration import ClassifierConfig
from unrolled.tasks.classify.pictures import PictureClassifier, moved

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 5, 4)).astype(np.uint8)


@pytest.mark.parametrize("scan", ["rows", "pixels", "permuted"])
def test_an_input_comes_back_from_a_run_and_gives_the_same(scan):
    found = PictureInput.fit(list(PIXELS), LabelledConfig(images=scan, images_seed=3))
    assert found.mean == pytest.approx(PIXELS.mean())
    assert found.deviation == pytest.approx(PIXELS.std())
    again = PictureInput.build(found.details(), "a run")
    assert asdict(again) == asdict(found)
    encoded = again.encode(list(PIXELS))
    assert encoded.lengths.tolist() == [5 if scan == "rows" else 20] * 7
    assert encoded.values.shape[1] == again.width == (4 if scan == "rows" else 1)
    read = encoded[2].reshape(-1)
    order = found.order if scan == "permuted" else range(20)
    assert read.tolist() == [PIXELS[2].reshape(-1)[place] for place in order]
    assert len(again.encode([])) == 0


def test_colour_and_other_sizes():
    colour = np.zeros((2, 3, 4, 3), np.uint8)
    found = PictureInput.fit(list(colour), LabelledConfig(images="rows", images_seed=0))
    assert (found.width, found.deviation) == (12, 1.0)
    with pytest.raises(DataError, match="another size"):
        found.encode([np.zeros((4, 4, 3), np.uint8)])


@pytest.mark.parametrize(
    "change",
    [{"order": [0, 0]}, {"scan": "columns"}, {"shape": [2, 2]}, {"deviation": 0.0}, {"mean": None}],
)
def test_what_is_no_input_is_said(change):
    details = PictureInput.fit(list(PIXELS), LabelledConfig(images="permuted", images_seed=0)).details()
    with pytest.raises(DataError, match="not an input of pictures"):
        PictureInput.build({**details, **change}, "a run")


@hypothesis.given(some.integers(-6, 6), some.integers(-6, 6))
def test_moving_is_what_a_loop_does(down, right):
    picture = PIXELS[0]
    expected = np.zeros_like(picture)
    for row in range(5):
        for column in range(4):
            if 0 <= row - down < 5 and 0 <= column - right < 4:
                expected[row, column] = picture[row - down, column - right]
    given = torch.from_numpy(picture)[None, :, :, None]
    found = moved(given, torch.tensor([down]), torch.tensor([right]))
    np.testing.assert_array_equal(found[0, :, :, 0], expected)


@pytest.mark.parametrize("scan", ["rows", "pixels", "permuted"])
def test_while_training_pictures_are_moved_and_else_not(scan):
    found = PictureInput.fit(list(PIXELS), LabelledConfig(images=scan, images_seed=1))
    torch.manual_seed(0)
    config = ClassifierConfig(cell="mingru", hidden_size=4, bidirectional=False)
    model = PictureClassifier(find_cell("mingru"), config, found, move=1, classes=3)
    side, lengths = found.encode(list(PIXELS)).padded(range(7))
    x, ends = torch.from_numpy(side), torch.from_numpy(lengths)
    model.eval()
    assert torch.equal(model(x, ends), model(x, ends))
    # What a moved picture is read as: that picture, encoded.
    possible = [moved(torch.from_numpy(PIXELS)[..., None], torch.full((7,), down), torch.full((7,), right))[..., 0]
                for down in (-1, 0, 1) for right in (-1, 0, 1)]  # fmt: skip
    read = [found.encode(list(one.numpy())).padded(range(7))[0].tolist() for one in possible]
    torch.manual_seed(5)
    for row, one in enumerate(model._moved(x).tolist()):
        assert any(other[row] == one for other in read)
