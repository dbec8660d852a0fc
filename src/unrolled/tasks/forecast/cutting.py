"""Parts in time, and what of horizon, window and season is not given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from unrolled.data.series import FloatArray, Panel, Series, previous
from unrolled.data.series_configuration import SeriesConfig
from unrolled.data.store import PARTS, Part
from unrolled.data.time_axis import parse_stamp
from unrolled.data.vocabulary import IntArray
from unrolled.errors import ConfigurationError, DataError

__all__ = ["Borders", "borders", "check_lengths", "find_season", "settle"]

Borders = dict[Part, IntArray]
"""(U, 2) for each part: the steps of each series, half open, that are forecast in it."""

_LONGEST_SEASON = 400
_MANY = 20  # series
_LIKE = 0.3  # autocorrelation from which a series resembles itself


def borders(
    panel: Panel, series: Sequence[Series], config: SeriesConfig, horizon: int, begins: Mapping[str, Mapping[str, int]]
) -> Borders:
    """Cut series in time: what is validated on lies after what is trained on, and what is tested on after that.

    Where series have time stamps, all are cut at the same ones, so that no series tells of another's future.

    Args:
        panel: the table.
        series: what is forecast on its own, made of it.
        config: the split.
        horizon: steps that are forecast at once.
        begins: for each series of the panel, the stamp at which parts begin that have files of their own.

    Raises:
        ConfigurationError: the split does not fit the series.
    """
    cuts = np.array([_cuts(panel, one, config, horizon, begins) for one in series], np.int64).reshape(-1, 3)
    firsts = np.zeros(len(cuts), np.int64)
    edges = np.stack([firsts, *cuts.T], axis=1)
    return {part: edges[:, index : index + 2] for index, part in enumerate(PARTS)}


def _cuts(
    panel: Panel, one: Series, config: SeriesConfig, horizon: int, begins: Mapping[str, Mapping[str, int]]
) -> tuple[int, int, int]:
    """The first steps to validate and to test on, and the one after the last."""
    own = next((begins[name] for name in begins if one.name == name or one.name.startswith(f"{name}/")), {})
    if not own and len(begins) == 1:
        own = next(iter(begins.values()))
    if own:
        end = len(one)
        test = _place(one, own["test"]) if "test" in own else end
        # Where the validation part has no file, it is the last of the training part.
        valid = _place(one, own["valid"]) if "valid" in own else test - max(horizon, test // 10)
        return max(valid, 0), test, end
    if config.valid_from is not None and config.test_from is not None:
        if panel.counted:
            raise ConfigurationError("valid_from and test_from want time stamps", fix="use --split")
        valid, test = _stamp(config.valid_from, config), _stamp(config.test_from, config)
        end_stamp = None if config.test_to is None else _stamp(config.test_to, config)
        if not valid <= test or (end_stamp is not None and end_stamp <= test):
            raise ConfigurationError(
                "the parts are out of order",
                expected="valid_from, then test_from, then test_to",
                got=", ".join(map(str, (config.valid_from, config.test_from, config.test_to))),
            )
        end = len(one) if end_stamp is None else _place(one, end_stamp)
        return _place(one, valid), _place(one, test), end
    apart = panel.counted and len(panel.series) > 1
    stamps = one.stamps[: len(one)] if apart else _all_stamps(panel)
    train, validate, last = config.shares
    total = len(stamps)
    if train + validate + last == 100:
        cuts = [total * train // 100, total * (train + validate) // 100, total]
    else:
        cuts = [train, train + validate, train + validate + last]
        if cuts[1] > total:
            raise ConfigurationError(
                "the split wants more steps than there are", expected=f"at most {total:,}", got=config.split
            )
    places = [_place(one, int(stamps[cut])) if cut < total else len(one) for cut in cuts]
    return places[0], places[1], places[2]


def _all_stamps(panel: Panel) -> IntArray:
    stamps = [one.stamps[: len(one)] for one in panel.series]
    return stamps[0] if len(stamps) == 1 else np.unique(np.concatenate(stamps))


def _place(one: Series, stamp: int) -> int:
    return int(np.searchsorted(one.stamps[: len(one)], stamp))


def _stamp(text: str, config: SeriesConfig) -> int:
    for form in (config.time_format, None):
        try:
            return parse_stamp(text, form)[0]
        except ValueError:
            continue
    raise ConfigurationError("this is no time stamp", expected="one as the table has them, or ISO 8601", got=text)


def settle(
    panel: Panel, series: Sequence[Series], config: SeriesConfig, segment: int | None, ends: IntArray
) -> SeriesConfig:
    """Fill in season, horizon and window.

    Args:
        panel: the table.
        series: what is forecast on its own.
        config: with fields that are None.
        segment: of the network, if given: the window is a multiple of it.
        ends: (U,) the end of the training part of each.
    """
    season = config.season
    if season is None:
        season = find_season(series, ends) if panel.counted or panel.step.unit == "number" else panel.step.season()
    horizon = config.horizon or (season if season > 1 else 12)
    window = config.window
    if window is None:
        train = int(np.median([len(one) for one in series]) * 0.7)
        # Two weeks of hours or days, two years of months.
        window = max(4 * horizon, 14 * season if season in (24, 7) else 2 * season, 16)
        # Of a few series that are short, more windows; many series have enough of them together.
        window = max(1, min(window, train * 3 // 5 if len(series) >= _MANY else train // 3))
        whole = segment or 1
        window = max(whole, window // whole * whole)
    return replace(config, season=season, horizon=horizon, window=window)


def find_season(series: Sequence[Series], ends: IntArray) -> int:
    """The steps after which series resemble themselves: where the autocorrelation of their training parts, of
    differences from step to step and averaged over series, has its first high peak; 1 if there is none.

    Args:
        series: U of them.
        ends: (U,) the end of the training part of each.
    """
    total = np.zeros(_LONGEST_SEASON + 1)
    seen = np.zeros(_LONGEST_SEASON + 1)
    for one, end in zip(series[:500], ends, strict=False):
        if end < 3:
            continue
        change = np.diff(previous(one.values)[:end], axis=0).mean(axis=1)
        change = change - change.mean()
        power = float(change @ change)
        most = min(_LONGEST_SEASON, len(change) // 3)
        if power <= 0 or most < 2:
            continue
        spectrum = np.fft.rfft(change, 2 * len(change))
        found = np.fft.irfft(np.abs(spectrum) ** 2)[: most + 1] / power
        total[: most + 1] += found
        seen[: most + 1] += 1
    like: FloatArray = np.divide(total, seen, out=np.zeros_like(total), where=seen >= max(1, seen.max() / 2))
    inner = np.arange(2, _LONGEST_SEASON)
    peaks: npt.NDArray[np.bool_] = (like[inner] > like[inner - 1]) & (like[inner] >= like[inner + 1])
    heights = np.where(peaks, like[inner], 0.0)
    if heights.max(initial=0.0) < _LIKE:
        return 1
    return int(inner[np.argmax(heights >= 0.9 * heights.max())])


def check_lengths(series: Sequence[Series], cut: Borders, config: SeriesConfig) -> list[str]:
    """Whether there is something to train on, and to validate and test on where that was asked for.

    Returns:
        a sentence on series that are too short to train on, which are left out there.

    Raises:
        DataError: no series is long enough.
    """
    window, horizon = config.window or 1, config.horizon or 1
    lengths = cut["train"][:, 1]
    short = lengths < window + horizon
    if short.all():
        longest = int(np.argmax(lengths))
        raise DataError(
            "no series is as long as a window and its horizon in the training part",
            expected=f"at least {window} + {horizon} steps",
            got=f"{lengths[longest]} in the longest, {series[longest].name!r}, of its {len(series[longest])}",
            where=series[longest].where,
            fix="a smaller --window or --horizon, or another --split",
        )
    for part in PARTS[1:]:
        sizes = cut[part][:, 1] - cut[part][:, 0]
        if sizes.max() and (sizes < horizon).all():
            raise DataError(
                f"the {part} part is shorter than what is forecast at once",
                expected=f"at least {horizon} steps, or none",
                got=str(int(sizes.max())),
                where=series[0].where,
                fix="a smaller --horizon, or another --split",
            )
    if not short.any():
        return []
    named = ", ".join(repr(series[index].name) for index in np.flatnonzero(short)[:3])
    return [f"{int(short.sum())} of {len(series)} series are too short to train on and are left out: {named}"]
