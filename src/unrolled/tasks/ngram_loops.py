"""The compiled loops of n-grams: counting, and walking along contexts.

An n-gram is a node of a tree: the nodes of order k are sorted by the node of their first k-1 symbols and then by their
last symbol, so that what follows a context is a stretch of sorted symbols. V symbols; the start of a sequence is a
further symbol with the number V, which nothing leads to. Numbers are int64, stored ones of the width of the text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["advance", "find", "look", "merge", "split", "spread", "suffixes", "summarise", "tally"]

_Array = npt.NDArray[Any]
_integer: Any = np.int64


@njit(cache=True, nogil=True)
def find(words: _Array, begin: int, end: int, word: int) -> int:
    """The place of a symbol in the sorted stretch words[begin:end]; -1 where it is not."""
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if words[middle] < word:
            low = middle + 1
        else:
            high = middle
    if low < end and words[low] == word:
        return low
    return -1


@njit(cache=True, nogil=True)
def tally(keys: _Array, counts: _Array) -> None:
    """Add one to the count of each key."""
    for key in keys:
        counts[key] += 1


@njit(cache=True, nogil=True)
def merge(a: _Array, a_counts: _Array, b: _Array, b_counts: _Array, keys: _Array, counts: _Array) -> int:
    """Two sorted lists of distinct keys as one, counts of equal keys added: how many keys there are then."""
    i, j, n = 0, 0, 0
    while i < len(a) or j < len(b):
        from_a = j == len(b) or (i < len(a) and a[i] <= b[j])
        from_b = i == len(a) or (j < len(b) and b[j] <= a[i])
        keys[n] = a[i] if from_a else b[j]
        counts[n] = 0
        if from_a:
            counts[n] += a_counts[i]
            i += 1
        if from_b:
            counts[n] += b_counts[j]
            j += 1
        n += 1
    return n


@njit(cache=True, nogil=True)
def split(keys: _Array, width: int, words: _Array, first: _Array) -> None:
    """Sorted keys, parent * width + symbol, to their symbols and the place of each parent's first child; the last entry
    of `first` is the number of keys."""
    parent = -1
    for i in range(len(keys)):
        own = keys[i] // width
        words[i] = keys[i] - own * width
        while parent < own:
            parent += 1
            first[parent] = i
    while parent < len(first) - 1:
        parent += 1
        first[parent] = len(keys)


@njit(cache=True, nogil=True)
def advance(ids: _Array, starts: _Array, grams: _Array, before: int, begin: int, words: _Array, first: _Array) -> int:
    """The nodes of order k-1 that end at each place of a text to those of order k, in place; -1 where there is none.

    Args:
        ids: (T,) the symbols.
        starts: (T,) whether a sequence begins with the symbol.
        grams: (T,) the nodes.
        before: the node of order k-1 that ends before the first place.
        begin: the node of order k-1 before a sequence: the start symbol for k = 2, else -1.
        words: the nodes of order k.
        first: where the children of each node of order k-1 begin.

    Returns:
        the node of order k-1 that ends at the last place.
    """
    for i in range(len(ids)):
        own = _integer(grams[i])
        context = begin if starts[i] else before
        grams[i] = -1 if context < 0 else find(words, _integer(first[context]), _integer(first[context + 1]), ids[i])
        before = own
    return before


@njit(cache=True, nogil=True)
def suffixes(
    words: _Array, first: _Array, parent_suffix: _Array, below: _Array, below_first: _Array, own: _Array, seen: _Array
) -> None:
    """For every node of order k the node of order k-1 without its first symbol, and how many lead to each of those.

    Args:
        words: the nodes of order k.
        first: where the children of each node of order k-1 begin.
        parent_suffix: for each node of order k-1, its own suffix of order k-2.
        below: the nodes of order k-1.
        below_first: where the children of each node of order k-2 begin.
        own: takes the suffixes.
        seen: gets 1 added for every node whose suffix it is (N1+(. w) in the paper).
    """
    for context in range(len(first) - 1):
        at = _integer(parent_suffix[context])
        begin, end = _integer(below_first[at]), _integer(below_first[at + 1])
        for node in range(first[context], first[context + 1]):
            found = find(below, begin, end, words[node])
            own[node] = found
            seen[found] += 1


@njit(cache=True, nogil=True)
def summarise(counts: _Array, first: _Array, totals: _Array, ones: _Array, twos: _Array, tops: _Array) -> None:
    """What a context has to know of the symbols after it: the sum of their counts, and how many have 1, and 2.

    `tops` gets the number of nodes with a count of 1, 2, 3 and 4 added.
    """
    for context in range(len(first) - 1):
        total, one, two = 0, 0, 0
        for node in range(first[context], first[context + 1]):
            count = _integer(counts[node])
            total += count
            one += count == 1
            two += count == 2
            if 1 <= count <= 4:
                tops[count - 1] += 1
        totals[context], ones[context], twos[context] = total, one, two


@njit(cache=True, nogil=True)
def look(
    ids: _Array,
    starts: _Array,
    boundary: int,
    state: _Array,
    words: _Array,
    counts: _Array,
    first: _Array,
    totals: _Array,
    ones: _Array,
    twos: _Array,
    root: _Array,
    size: int,
    table: _Array,
) -> None:
    """Walk along a text and write down what the probability of each symbol follows from.

    Args:
        ids: (T,) the symbols.
        starts: (T,) whether a sequence begins with the symbol.
        boundary: the symbol after which one begins; -1 for none.
        state: (n-1,) the nodes of the contexts of 1, 2, ... symbols, -1 where there is none; it is moved on.
        words, counts: of all nodes, one order after the other.
        first, totals, ones, twos: of the nodes that are contexts.
        root: (4,) sum of counts, and number of symbols with 1, 2 and more, for the empty context.
        size: V.
        table: (T, n, 5) takes, for contexts of 0, 1, ... symbols: the count of the symbol there, the sum of counts, and
            how many symbols have 1, 2 and more; zeros where there is no such context.
    """
    longest = len(state)
    following = np.empty_like(state)
    for i in range(len(ids)):
        word = ids[i]
        if starts[i]:
            state[:] = -1
            if longest:
                state[0] = size
        table[i] = 0
        table[i, 0, 0] = counts[word]
        table[i, 0, 1:] = root
        following[:] = -1
        if longest:
            following[0] = word
        for k in range(longest):
            context = state[k]
            # Where nothing follows a context, nothing follows the longer ones that end in it.
            if context < 0 or totals[context] == 0:
                break
            begin, end = _integer(first[context]), _integer(first[context + 1])
            node = find(words, begin, end, word)
            if node >= 0:
                table[i, k + 1, 0] = counts[node]
                if k + 1 < longest:
                    following[k + 1] = node
            table[i, k + 1, 1] = totals[context]
            table[i, k + 1, 2] = ones[context]
            table[i, k + 1, 3] = twos[context]
            table[i, k + 1, 4] = end - begin - ones[context] - twos[context]
        if word == boundary:
            following[:] = -1
            if longest:
                following[0] = size
        state[:] = following


@njit(cache=True, nogil=True)
def spread(
    state: _Array,
    words: _Array,
    counts: _Array,
    first: _Array,
    totals: _Array,
    ones: _Array,
    twos: _Array,
    root: _Array,
    discounts: _Array,
    p: _Array,
) -> None:
    """The distribution (V,) of the symbol after a state, into `p`; see `look`. `discounts` (n, 3)."""
    size = len(p)
    p[:] = 1.0 / size
    for k in range(len(state) + 1):
        if k == 0:
            begin, end, total, one, two, more = 0, size, root[0], root[1], root[2], root[3]
        else:
            context = state[k - 1]
            if context < 0 or totals[context] == 0:
                break
            begin, end = _integer(first[context]), _integer(first[context + 1])
            total, one, two = _integer(totals[context]), _integer(ones[context]), _integer(twos[context])
            more = end - begin - one - two
        if total == 0:
            continue
        p *= (discounts[k, 0] * one + discounts[k, 1] * two + discounts[k, 2] * more) / total
        for node in range(begin, end):
            count = _integer(counts[node])
            if count:
                p[words[node]] += (count - discounts[k, min(count, 3) - 1]) / total
