from __future__ import annotations

import itertools

import hypothesis
import hypothesis.strategies as some
import numpy as np
import pytest

from unrolled.data.alphabets import ALPHABETS, find_alphabet, kmers
from unrolled.errors import ConfigurationError, DataError

# From the table of Cornish-Bowden 1985, written down independently: symbol, meaning, complement.
IUPAC = """A A T; C C G; G G C; T T A; R AG Y; Y CT R; S CG S; W AT W; K GT M; M AC K; B CGT V; V ACG B; D AGT H;
H ACT D; N ACGT N"""


def test_the_symbols_of_dna_mean_and_pair_as_iupac_says():
    dna = find_alphabet("dna")
    table = [line.split() for line in IUPAC.replace("\n", " ").split(";")]
    assert sorted(dna.symbols) == sorted(symbol for symbol, _, _ in table)
    for symbol, meaning, other in table:
        share = dna.shares[dna.encode(symbol)[0]]
        assert {letter for letter, part in zip(dna.letters, share, strict=True) if part} == set(meaning)
        assert share.sum() == pytest.approx(1)
        assert dna.decode(dna.reverse_complement(dna.encode(symbol))) == other


@pytest.mark.parametrize("name", ALPHABETS)
def test_texts_come_back_in_upper_case(name):
    alphabet = find_alphabet(name)
    assert alphabet.decode(alphabet.encode(alphabet.symbols.lower())) == alphabet.symbols
    assert alphabet.encode(" AC\tD\n" if name == "protein" else " AC\tG\n").tolist()[:2] == [0, 1]
    assert len(alphabet.encode("")) == 0


def test_u_and_t_are_the_same():
    assert find_alphabet("dna").decode(find_alphabet("dna").encode("ACGU")) == "ACGT"
    assert find_alphabet("rna").decode(find_alphabet("rna").encode("acgt")) == "ACGU"


@hypothesis.given(some.text("ACGTUacgtRYSWKMBDHVN", max_size=30), some.sampled_from(["dna", "rna"]))
def test_the_other_strand_of_the_other_strand_is_the_strand(text, name):
    alphabet = find_alphabet(name)
    codes = alphabet.encode(text)
    other = alphabet.reverse_complement(codes)
    assert len(other) == len(codes)
    assert alphabet.reverse_complement(other).tolist() == codes.tolist()


@pytest.mark.parametrize(
    ("name", "text", "place", "fix"),
    [
        ("dna", "ACGE", 4, "--alphabet protein"),
        ("dna", "AC-G", 3, "gaps"),
        ("dna", "ACÅG", 3, "correct"),
        ("dna", "AC中G", 3, "correct"),
        ("rna", "1ACG", 1, "correct"),
        ("protein", "MK*L", 3, "stop"),
        ("letters:ab?", "ab中", 3, "correct"),
        ("letters:ab", "aB", 2, "correct"),
    ],
)
def test_a_letter_outside_the_alphabet_is_named_with_its_place(name, text, place, fix):
    with pytest.raises(DataError, match=f"is no letter of the alphabet {name}".replace("?", r"\?")) as raised:
        find_alphabet(name).encode(text, "a.fa, line 7")
    assert f"a.fa, line 7, letter {place}" in str(raised.value)
    assert fix in str(raised.value)


def test_letters_of_ones_own():
    own = find_alphabet("letters:LHR?")
    assert own.decode(own.encode("RL? H")) == "RL?H"
    with pytest.raises(ConfigurationError, match="do not pair"):
        _ = own.complement
    with pytest.raises(ConfigurationError, match="do not pair"):
        _ = find_alphabet("protein").complement


@pytest.mark.parametrize("name", ["dan", "letters:", "letters:A", "letters:AA", "letters:A B", "letters:Aé"])
def test_an_alphabet_that_is_none(name):
    with pytest.raises(ConfigurationError):
        find_alphabet(name)


@hypothesis.given(some.text("ACGTN", max_size=12), some.integers(1, 4))
def test_kmers_are_those_of_a_table(text, k):
    dna = find_alphabet("dna")
    table = {"".join(letters): number for number, letters in enumerate(itertools.product("ACGT", repeat=k))}
    found = kmers(dna.encode(text), k, 4)
    assert found.tolist() == [table.get(text[at : at + k], 4**k) for at in range(max(0, len(text) - k + 1))]
    assert found.dtype == np.int64
