"""Options of the bag of words; light, so that the command line answers at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from unrolled.errors import ConfigurationError

__all__ = ["MOST", "BowConfig", "Classifier", "Tokens", "Weighting", "read_orders"]

Classifier = Literal["naive-bayes", "logistic", "nbsvm", "nb-logistic", "mlp", "ridge"]
Weighting = Literal["counts", "binary", "tfidf"]
Tokens = Literal["words", "marks", "space"]
MOST = 10
"""The longest n-gram: beyond, nearly all are seen once."""

_ORDERS = re.compile(r"([0-9]+)(?:-([0-9]+))?")


@dataclass(frozen=True)
class BowConfig:
    """A bag of n-grams and what is fitted to it. What is not given is chosen on the validation part.

    Attributes:
        classifier: "naive-bayes", "logistic", "nbsvm", "nb-logistic" or "mlp"; the best of all but "mlp" if not given;
            for numbers always "ridge".
        weighting: what an n-gram of a text counts: "counts" how often it stands there, "binary" whether it does,
            "tfidf" more the fewer texts have it, rows of length 1.
        word_ngrams: words of the shortest and of the longest n-gram, such as 1-2; 0 for none.
        char_ngrams: the same of characters; 0 for none.
        tokens: what a word is: "words" a run of letters and digits, with apostrophes inside; "marks" punctuation marks
            too, each by itself; "space" what stands between white space.
        stop_words: words that are left out: "none", "english", or a file with one in each line.
        edges: whether begin and end of a text count as characters.
        fewest_texts: n-grams that fewer training texts have are left out.
        most_ngrams: only so many are kept, those that most texts have; for mlp 20,000 if not given.
        cost: of errors against large weights, C of logistic regressions and of the support vector machine, 1/alpha of
            ridge.
        added: to every count, by naive Bayes and for the ratios of nbsvm and nb-logistic.
        interpolation: of nbsvm, 0 for its ratios alone and 1 for its support vector machine alone; 0.25 where there is
            no validation part.
        hidden_units: of mlp.
    """

    classifier: Classifier | None = None
    weighting: Weighting | None = None
    word_ngrams: str | None = None
    char_ngrams: str | None = None
    tokens: Tokens | None = None
    stop_words: str = "none"
    edges: bool = True
    fewest_texts: int = 1
    most_ngrams: int | None = None
    cost: float | None = None
    added: float | None = None
    interpolation: float | None = None
    hidden_units: int = 64

    def __post_init__(self) -> None:
        for name, choices in (("classifier", Classifier), ("weighting", Weighting), ("tokens", Tokens)):
            if getattr(self, name) not in (*get_args(choices), None):
                wanted = " or ".join(map(repr, get_args(choices)))
                raise ConfigurationError(f"{name} has no such choice", expected=wanted, got=repr(getattr(self, name)))
        words, characters = read_orders("word_ngrams", self.word_ngrams), read_orders("char_ngrams", self.char_ngrams)
        if self.word_ngrams is not None and self.char_ngrams is not None and not (words or characters):
            raise ConfigurationError("there is nothing to count", expected="n-grams of words or of characters")
        for name in ("fewest_texts", "hidden_units", "most_ngrams"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} is too small", expected="at least 1", got=str(value))
        for name in ("cost", "added"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ConfigurationError(f"{name} is out of range", expected="above 0", got=str(value))
        if self.interpolation is not None and not 0 <= self.interpolation <= 1:
            raise ConfigurationError("interpolation is out of range", expected="0 to 1", got=str(self.interpolation))


def read_orders(name: str, given: str | None) -> tuple[int, int] | None:
    """The shortest and the longest n-gram of "1-3" or "2"; None for "0" and where nothing is given.

    Raises:
        ConfigurationError: it is something else.
    """
    if given is None or given == "0":
        return None
    found = _ORDERS.fullmatch(given)
    orders: tuple[Any, ...] = (0, 0)
    if found:
        orders = (int(found[1]), int(found[2] or found[1]))
    if not 1 <= orders[0] <= orders[1] <= MOST:
        raise ConfigurationError(f"{name} cannot be read", expected=f"such as 1-2, up to {MOST}; or 0", got=repr(given))
    return orders
