"""Sessions of a shop that does not exist, for trying out what learns from sequences of events.

A session is of one visitor, who has a taste (one of several kinds of goods) and a plan: a first item that is looked at
again before the session ends. Each event is, with these chances,

- 0.55 the follower of the item before: every item has three, one of them twice as likely as the others;
- 0.25 an item of the visitor's kind, the popular ones more often (Zipf);
- 0.10 an item of the whole shop (Zipf);
- 0.10 the first item of the session again.

A Markov chain can learn the followers, popularity the popular ones; the taste and the first item take memory.
"""

from __future__ import annotations

import numpy as np

from unrolled.data.sessions import Sessions
from unrolled.errors import ConfigurationError

__all__ = ["make_sessions"]

_FOLLOWERS = 3
_SHARES = (0.55, 0.25, 0.10, 0.10)
_START = 1_700_000_000.0  # seconds: November 2023
_LENGTH = 8.0  # events on average


def make_sessions(sessions: int = 10_000, *, items: int = 200, kinds: int = 10, seed: int = 0) -> Sessions:
    """Sessions of two to forty events.

    Args:
        sessions: how many.
        items: goods of the shop, called item0001 and so on.
        kinds: of goods; item n is of kind n modulo `kinds`.
        seed: they follow from it.

    Raises:
        ConfigurationError: there are fewer items than kinds, or a number is not positive.
    """
    if min(sessions, kinds) < 1 or items < max(kinds, _FOLLOWERS + 1):
        raise ConfigurationError(
            "such sessions cannot be made",
            expected=f"at least one session and kind, and {max(kinds, _FOLLOWERS + 1)} items",
            got=f"{sessions} sessions, {items} items of {kinds} kinds",
        )
    random = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, items + 1)
    followers = np.stack([random.choice(items, _FOLLOWERS, replace=False) for _ in range(items)])
    of_kind = [np.arange(kind, items, kinds) for kind in range(kinds)]
    made = Sessions()
    for number in range(sessions):
        kind = int(random.integers(kinds))
        own, weights = of_kind[kind], popularity[of_kind[kind]]
        first = int(random.choice(own, p=weights / weights.sum()))
        visited = [first]
        for way in random.choice(4, int(np.clip(random.geometric(1 / _LENGTH), 1, 39)), p=_SHARES).tolist():
            if way == 0:
                chosen = random.choice(followers[visited[-1]], p=(0.5, 0.25, 0.25))
            elif way == 1:
                chosen = random.choice(own, p=weights / weights.sum())
            elif way == 2:
                chosen = random.choice(items, p=popularity / popularity.sum())
            else:
                chosen = first
            visited.append(int(chosen))
        made.items.append(tuple(f"item{item + 1:04}" for item in visited))
        made.begins.append(_START + 600.0 * number)
    return made
