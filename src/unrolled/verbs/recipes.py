"""Recipes: many options at once, as a program or a paper of the field has them. `docs/recipes.md` says what each does.

An option that is given beside a recipe wins over it.
"""

from __future__ import annotations

from typing import Any

__all__ = ["RECIPES"]

RECIPES: dict[str, dict[str, Any]] = {
    # Karpathy's 112 lines of 2015: one stream, no validation part, float64, nothing scaled by the length.
    "min-char-rnn": {
        "split": "100/0/0",
        "cell": "rnn",
        "hidden_size": 100,
        "layers": 1,
        "embedding_size": 0,
        "dropout": 0.0,
        "initial_std": 0.01,
        "batch": 1,
        "length": 25,
        "optimizer": "adagrad-inside",
        "learning_rate": 0.1,
        "epsilon": 1e-8,
        "schedule": "constant",
        "weight_decay": 0.0,
        "clip_norm": 0.0,
        "clip_value": 5.0,
        "reduction": "sum",
        "smoothing": 0.999,
        "shift": False,
        "precision": "float64",
        # Products this small are slower on two threads than on one as soon as the machine does anything else.
        "threads": 1,
        "sample_every": 100,
    },
    # Karpathy's char-rnn of 2015 with its defaults (train.lua): gradients are summed over the 50 steps before entries
    # beyond 5 are clipped, the rate falls by 3% with each pass from the tenth on.
    "char-rnn": {
        "epochs": 50.0,
        "split": "95/5/0",
        "hidden_size": 128,
        "embedding_size": 0,
        "dropout": 0.0,
        "initial_range": 0.08,
        "batch": 50,
        "length": 50,
        "optimizer": "rmsprop",
        "learning_rate": 2e-3,
        "beta2": 0.95,
        "epsilon": 1e-8,
        "schedule": "falling",
        "weight_decay": 0.0,
        "clip_norm": 0.0,
        "clip_value": 5.0,
        "reduction": "sum",
        "shift": False,
        "validations": 0,
    },
    # Merity, Keskar & Socher 2018, as their program trains on the words of Penn Treebank.
    "awd-lstm": {
        "epochs": 500.0,
        "unit": "word",
        "hidden_size": 1150,
        "layers": 3,
        "embedding_size": 400,
        "tied": True,
        "embedding_scale": 1.0,
        "variational": True,
        "dropout": 0.4,
        "input_dropout": 0.4,
        "layer_dropout": 0.25,
        "output_dropout": 0.4,
        "embedding_dropout": 0.1,
        "weight_drop": 0.5,
        "activation_penalty": 2.0,
        "temporal_penalty": 1.0,
        "batch": 20,
        "length": 70,
        "random_lengths": True,
        "shift": False,
        "optimizer": "sgd",
        "momentum": 0.0,
        "learning_rate": 30.0,
        "schedule": "constant",
        "weight_decay": 1.2e-6,
        "decayed": "all",
        "average": "triggered",
        "validations": 0,
    },
    # Ours, for a small text of words and a given number of minutes; size and dropout follow from text and budget.
    "fast": {
        "unit": "word",
        "tied": True,
        "output": "sampled",
        "samples": 2048,
        "batch": 20,
        "length": 35,
        "learning_rate": 3e-3,
        "clip_norm": 0.5,
    },
}
