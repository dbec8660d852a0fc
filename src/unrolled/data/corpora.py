"""The standard corpora of language models: where each is found, how it is recognised, and how it is split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unrolled.data.store import Part
from unrolled.errors import ConfigurationError, nearest

__all__ = ["CORPORA", "Corpus", "Digest", "Member", "find_corpus"]


@dataclass(frozen=True)
class Digest:
    """A checksum.

    Attributes:
        kind: the function.
        hexadecimal: its value.
    """

    kind: Literal["md5", "sha256"]
    hexadecimal: str

    def __str__(self) -> str:
        return f"{self.kind} {self.hexadecimal}"


@dataclass(frozen=True)
class Member:
    """A file of a corpus.

    Attributes:
        name: its path in the archive; of a corpus that is no archive, its name.
        kept: its path in the directory of the corpus.
        part: what it is for; None where the corpus is one text, split by position.
        size: bytes, where that is known.
        digest: where one is known.
        lines: how many line ends it has, where that is known.
    """

    name: str
    kept: str
    part: Part | None = None
    size: int | None = None
    digest: Digest | None = None
    lines: int | None = None


@dataclass(frozen=True)
class Corpus:
    """A corpus.

    Attributes:
        name: what it is asked for by.
        about: one line.
        addresses: where it is downloaded, the first that answers rightly wins; none where its licence forbids that.
        file: the name of what is downloaded.
        digest: of that; None where only the members' are known.
        size: bytes of that, about.
        unpacked: bytes of its members together, about.
        members: its files.
        unit: what a token usually is.
        split: in percent, of a corpus in one file.
    """

    name: str
    about: str
    addresses: tuple[str, ...]
    file: str
    digest: Digest | None
    size: int
    unpacked: int
    members: tuple[Member, ...]
    unit: Literal["char", "byte", "word"]
    split: str | None = None

    @property
    def packed(self) -> bool:
        """Whether what is downloaded is an archive."""
        return (self.file, self.file) not in {(member.name, member.kept) for member in self.members}


def _wikitext(number: str, digest: Digest, size: int, unpacked: int, lines: tuple[int, int, int]) -> Corpus:
    parts: tuple[Part, Part, Part] = ("train", "valid", "test")
    return Corpus(
        f"wikitext-{number}",
        f"WikiText-{number} (Merity et al. 2017): Wikipedia's good articles, words with <unk>; CC BY-SA",
        (
            f"https://wikitext.smerity.com/wikitext-{number}-v1.zip",
            f"https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-{number}-v1.zip",
        ),
        f"wikitext-{number}-v1.zip",
        digest,
        size,
        unpacked,
        tuple(
            Member(f"wikitext-{number}/wiki.{part}.tokens", f"wiki.{part}.tokens", part, lines=count)
            for part, count in zip(parts, lines, strict=True)
        ),
        "word",
    )


_BILLION = "1-billion-word-language-modeling-benchmark-r13output"


def _billion() -> tuple[Member, ...]:
    """The 99 files to train on and the 50 held out, of which the first is what everybody reports on."""
    train = [f"news.en-{number:05}-of-00100" for number in range(1, 100)]
    held = [f"news.en.heldout-{number:05}-of-00050" for number in range(50)]
    return (
        *(Member(f"{_BILLION}/training-monolingual.tokenized.shuffled/{n}", f"train/{n}", "train") for n in train),
        *(Member(f"{_BILLION}/heldout-monolingual.tokenized.shuffled/{n}", f"valid/{n}", "valid") for n in held[1:]),
        Member(f"{_BILLION}/heldout-monolingual.tokenized.shuffled/{held[0]}", f"test/{held[0]}", "test"),
    )


CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        Corpus(
            "tinyshakespeare",
            "40,000 lines of Shakespeare's plays, as char-rnn had them",
            ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
            "input.txt",
            Digest("sha256", "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"),
            1_115_394,
            1_115_394,
            (
                Member(
                    "input.txt",
                    "input.txt",
                    size=1_115_394,
                    digest=Digest("sha256", "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"),
                ),
            ),
            "char",
            "90/10/0",
        ),
        Corpus(
            "text8",
            "Wikipedia of 2006 in the letters a to z and spaces",
            ("http://mattmahoney.net/dc/text8.zip", "https://mattmahoney.net/dc/text8.zip"),
            "text8.zip",
            Digest("sha256", "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232"),
            31_300_000,
            100_000_000,
            (Member("text8", "text8", size=100_000_000, digest=Digest("md5", "3bea1919949baf155f99411df5fada7e")),),
            "char",
            "90/5/5",
        ),
        Corpus(
            "enwik8",
            "the first 100 MB of Wikipedia of 2006, with its XML",
            ("http://mattmahoney.net/dc/enwik8.zip", "https://mattmahoney.net/dc/enwik8.zip"),
            "enwik8.zip",
            Digest("sha256", "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc"),
            36_400_000,
            100_000_000,
            (
                Member(
                    "enwik8",
                    "enwik8",
                    size=100_000_000,
                    digest=Digest("sha256", "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8"),
                ),
            ),
            "byte",
            "90/5/5",
        ),
        _wikitext(
            "2", Digest("md5", "542ccefacc6c27f945fb54453812b3cd"), 4_500_000, 13_300_000, (36_718, 3_760, 4_358)
        ),
        _wikitext(
            "103",
            Digest("md5", "9ddaacaf6af0710eda8c456decff7832"),
            190_000_000,
            543_000_000,
            (1_801_350, 3_760, 4_358),
        ),
        Corpus(
            "one-billion-words",
            "the One Billion Word Benchmark (Chelba et al. 2013): shuffled sentences of news",
            (
                f"http://www.statmt.org/lm-benchmark/{_BILLION}.tar.gz",
                f"https://www.statmt.org/lm-benchmark/{_BILLION}.tar.gz",
            ),
            f"{_BILLION}.tar.gz",
            Digest("sha256", "01ba60381110baf7f189dfd2b8374de371e8c9a340835793f190bdae9e90a34e"),
            1_792_209_805,
            4_200_000_000,
            _billion(),
            "word",
        ),
        Corpus(
            "penn-treebank",
            "the Penn Treebank's words as Mikolov prepared them; from a copy of your own, for its licence",
            (),
            "ptb.zip",
            None,
            2_000_000,
            5_900_000,
            (
                Member(
                    "ptb.train.txt", "ptb.train.txt", "train", digest=Digest("md5", "f26c4b92c5fdc7b3f8c7cdcb991d8420")
                ),
                Member(
                    "ptb.valid.txt", "ptb.valid.txt", "valid", digest=Digest("md5", "aa0affc06ff7c36e977d7cd49e3839bf")
                ),
                Member(
                    "ptb.test.txt", "ptb.test.txt", "test", digest=Digest("md5", "8b80168b89c18661a38ef683c0dc3721")
                ),
            ),
            "word",
        ),
    )
}
"""Every corpus by its name."""


def find_corpus(name: str) -> Corpus:
    """The corpus of a name (`ConfigurationError`, which names the nearest, if there is none)."""
    if name not in CORPORA:
        raise ConfigurationError(f"there is no corpus {name!r}", fix=nearest(name, CORPORA))
    return CORPORA[name]
