"""A classifier that starts from a trained language model: what follows from it, and how its weights are handed over.

A network that has learned to go on writing has learned to read (Dai & Le 2015; Howard & Ruder 2018).
"""

from __future__ import annotations

from typing import Any

import torch

from unrolled.data.vocabulary import Vocabulary
from unrolled.data.words import Words
from unrolled.tasks.classify.model import Classifier
from unrolled.tasks.embeddings import Vectors
from unrolled.tasks.language_model import LanguageModel

__all__ = ["follow", "hand_over"]


def follow(model: LanguageModel, vocabulary: Vocabulary) -> dict[str, Any]:
    """The options of a classifier that are those of the language model it starts from, by name."""
    config, recurrent = model.config, model.recurrent
    found: dict[str, Any] = {
        "cell": config.cell,
        "layers": config.layers,
        "hidden_size": recurrent.hidden_size,
        "embedding_size": recurrent.input_size if isinstance(model.embedding, Vectors) else 0,
        "last_size": recurrent.output_size if recurrent.output_size != recurrent.hidden_size else None,
        "mogrifier": config.mogrifier,
        "residual": config.residual,
        # It has read forward only.
        "bidirectional": False,
        "unit": vocabulary.unit,
    }
    if isinstance(vocabulary, Words):
        found["splitter"] = vocabulary.splitter
    return found


@torch.no_grad()
def hand_over(model: LanguageModel, classifier: Classifier) -> None:
    """Give a classifier the embedding and the recurrent layers of a language model; see `follow`."""
    if isinstance(model.embedding, Vectors):
        assert isinstance(classifier.embedding, torch.nn.Embedding)
        classifier.embedding.weight.copy_(model.embedding.weight * model.embedding.scale)
    classifier.recurrent.load_state_dict(model.recurrent.state_dict())
