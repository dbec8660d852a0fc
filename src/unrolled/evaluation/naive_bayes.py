"""The plain opponent of attribution: multinomial naive Bayes on n-grams of characters.

ln p(text | c) is the sum over its n-grams g of ln (count_c(g) + a) / (N_c + a V): V different n-grams in all classes,
one more for all that were never seen, N_c n-grams in class c (Manning, Raghavan & Schütze 2008, section 13.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unrolled.errors import DataError
from unrolled.evaluation.reading import Floats

__all__ = ["NaiveBayes"]

_BITS = 21  # of a code point
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_ORDERS = range(1, 7)
_ADDED = (1.0, 0.1, 0.01, 0.001)


class NaiveBayes:
    """Learnt from one text a class.

    Args:
        texts: of the classes.
        order: n.
        added: a, added to every count.

    Raises:
        DataError: a text is shorter than an n-gram.
    """

    def __init__(self, texts: Sequence[str], order: int = 4, added: float = 0.1) -> None:
        self.order, self.added = order, added
        keys = [_grams(text, order) for text in texts]
        if not all(map(len, keys)):
            raise DataError("a text to learn from is too short", expected=f"at least {order} characters")
        self._seen = np.unique(np.concatenate(keys))
        counts = [np.bincount(np.searchsorted(self._seen, each), minlength=len(self._seen) + 1) for each in keys]
        smoothed = np.stack(counts).astype(np.float64) + added
        self._log_p: Floats = np.log(smoothed / smoothed.sum(1, keepdims=True))

    def scores(self, text: str) -> Floats:
        """(C,) ln p of a text in each class."""
        keys = _grams(text, self.order)
        places = np.minimum(np.searchsorted(self._seen, keys), len(self._seen) - 1)
        places = np.where(self._seen[places] == keys, places, len(self._seen))
        found: Floats = self._log_p[:, places].sum(1)
        return found

    def choose(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """(n,) the likeliest class of each of some texts."""
        return np.array([int(self.scores(text).argmax()) for text in texts], np.int64)

    @classmethod
    def tuned(
        cls, texts: Sequence[str], held_out: Sequence[str], classes: Sequence[int] | npt.NDArray[np.int64]
    ) -> NaiveBayes:
        """The one, of orders 1 to 6 and a from 1 to 0.001, that is right the most often on held-out texts."""
        right = np.asarray(classes)
        found = (cls(texts, order, added) for order in _ORDERS for added in _ADDED)
        return max(found, key=lambda model: float((model.choose(held_out) == right).mean()))


def _grams(text: str, order: int) -> npt.NDArray[np.uint64]:
    """A number for each n-gram of a text: of up to three characters their code points, of more a hash of these."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    count = max(len(points) - order + 1, 0)
    keys = np.zeros(count, np.uint64)
    for at in range(order):
        part = points[at : at + count]
        keys = keys << np.uint64(_BITS) | part if order <= 3 else (keys ^ part) * _PRIME + np.uint64(1)
    return keys
