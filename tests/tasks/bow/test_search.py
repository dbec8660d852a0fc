"""Fitting a bag of words, and finding its setting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.svm import LinearSVC

from unrolled.errors import ConfigurationError, DataError
from unrolled.tasks.bow.configuration import BowConfig
from unrolled.tasks.bow.model import BagOfWords
from unrolled.tasks.bow.search import BowTask
from unrolled.tasks.bow.trials import Texts, Tried

GOOD, BAD = ["fine", "lovely", "bright", "sweet"], ["dull", "grim", "awful", "bitter"]
REST = ["the", "film", "was", "not", "a", "story", "of", "and", "rather", "very", "plot", "cast"]


def reviews(count: int, seed: int, classes: int = 2) -> Texts:
    """Sentences with a word or two that tell their class, sometimes turned round by "not"."""
    random = np.random.default_rng(seed)
    texts, targets = [], []
    for _ in range(count):
        target = int(random.integers(classes))
        said = [GOOD, BAD, ["okay", "middling", "so-so"]][target]
        words = list(random.choice(REST, 6))
        words.insert(int(random.integers(6)), str(random.choice(said)))
        texts.append(" ".join(words))
        targets.append(target if random.random() < 0.95 else int(random.integers(classes)))
    return Texts(texts, np.array(targets))


NONE = Texts([], np.empty(0, np.int64))


def fixed(classifier: str, **more: object) -> BowConfig:
    options = {"word_ngrams": "1-2", "char_ngrams": "0", "tokens": "words", "weighting": "binary", "cost": 1.0}
    return BowConfig(**{**options, "added": 1.0, "classifier": classifier, **more})  # type: ignore[arg-type]


def table_of(train: Texts, test: Texts) -> tuple[object, object]:
    vectorizer = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", binary=True)
    return vectorizer.fit_transform(train.texts), vectorizer.transform(test.texts)


@pytest.mark.parametrize("classes", [2, 3])
def test_naive_bayes_beside_scikit_learn(classes: int) -> None:
    train, test = reviews(60, 1, classes), reviews(20, 2, classes)
    model = BowTask(train, NONE, "softmax", fixed("naive-bayes")).fit()
    rows, others = table_of(train, test)
    expected = MultinomialNB(alpha=1.0).fit(rows, train.targets).predict_proba(others)
    np.testing.assert_allclose(model.answers(test.texts), expected, atol=1e-10)


def test_nbsvm_beside_its_equations() -> None:
    train, test = reviews(80, 3), reviews(30, 4)
    model = BowTask(train, NONE, "softmax", fixed("nbsvm")).fit()
    rows, others = (np.asarray(table.todense()) for table in table_of(train, test))  # type: ignore[attr-defined]
    p, q = (1 + rows[train.targets == c].sum(0) for c in (1, 0))
    r = np.log((p / p.sum()) / (q / q.sum()))
    machine = LinearSVC(random_state=0).fit(r * rows, train.targets)
    w = machine.coef_[0]
    mixed = 0.75 * np.abs(w).sum() / len(w) + 0.25 * w
    scores = (r * others) @ mixed + machine.intercept_[0]
    found = model.answers(test.texts)
    np.testing.assert_allclose(np.log(found[:, 1] / found[:, 0]), scores, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_on_ratios_beside_its_equations(classes: int) -> None:
    train, test = reviews(80, 3, classes), reviews(30, 4, classes)
    found = BowTask(train, NONE, "softmax", fixed("nb-logistic", cost=0.3, added=0.5)).fit().answers(test.texts)
    rows, others = (np.asarray(table.todense()) for table in table_of(train, test))  # type: ignore[attr-defined]
    scores = np.zeros((30, classes))
    for c in range(classes) if classes > 2 else [1]:
        p, q = (0.5 + rows[(train.targets == c) == side].sum(0) for side in (True, False))
        r = np.log((p / p.sum()) / (q / q.sum()))
        # Its intercept is a feature that is always 1, and held down like any other weight.
        one = np.ones((len(rows), 1))
        model = LogisticRegression(C=0.3, fit_intercept=False, tol=1e-8, max_iter=10_000)
        model.fit(np.concatenate([r * rows, one], 1), train.targets == c)
        scores[:, c] = np.concatenate([r * others, one[:30]], 1) @ model.coef_[0]
    np.testing.assert_allclose(found, softmax(scores, 1), atol=1e-3)


def test_nbsvm_of_two_classes_is_the_same_seen_from_either() -> None:
    train, test = reviews(80, 3), reviews(30, 4)
    turned = Texts(train.texts, 1 - train.targets)
    one = BowTask(train, NONE, "softmax", fixed("nbsvm")).fit().answers(test.texts)
    two = BowTask(turned, NONE, "softmax", fixed("nbsvm")).fit().answers(test.texts)
    # But for the absolute values in the mean weight, r and w turn round together.
    assert (one.argmax(1) == 1 - two.argmax(1)).mean() > 0.9


@pytest.mark.parametrize("classifier", ["logistic", "naive-bayes", "nbsvm", "nb-logistic", "mlp"])
@pytest.mark.parametrize("classes", [2, 3])
def test_each_learns(classifier: str, classes: int) -> None:
    train, valid, test = (reviews(count, seed, classes) for count, seed in ((200, 1), (40, 2), (60, 3)))
    more = {"hidden_units": 8} if classifier == "mlp" else {}
    model = BowTask(train, valid, "softmax", fixed(classifier, **more)).fit()
    answers = model.answers(test.texts)
    assert answers.shape == (60, classes)
    np.testing.assert_allclose(answers.sum(1), 1)
    assert (answers.argmax(1) == test.targets).mean() > 0.8
    assert model.answers([]).shape == (0, classes)
    again = BagOfWords.from_arrays(model.features.vocabulary(), model.arrays(), model.facts(), "here")
    np.testing.assert_array_equal(again.answers(test.texts), answers)
    assert len(model.telling(3)) == (0 if classifier == "mlp" else classes)


def test_what_speaks_for_a_class() -> None:
    model = BowTask(reviews(300, 1), NONE, "softmax", fixed("logistic", word_ngrams="1")).fit()
    good, bad = ({name for name, _ in telling} for telling in model.telling(4))
    assert good == set(GOOD)
    assert bad == set(BAD)


def test_the_search_looks_at_every_axis() -> None:
    train, valid = reviews(120, 5), reviews(60, 6)
    heard: list[Tried] = []
    task = BowTask(train, valid, "softmax", told=heard.append)
    model = task.fit()
    assert heard == task.tried
    settings = [tried.setting for tried in heard]
    assert len(set(settings)) == len(settings)
    assert {setting.classifier for setting in settings} == {"logistic", "naive-bayes", "nbsvm", "nb-logistic"}
    assert {setting.weighting for setting in settings} == {"tfidf", "binary", "counts"}
    assert {setting.tokens for setting in settings} == {"words", "marks"}
    assert {(s.word_ngrams, s.char_ngrams) for s in settings} > {("1", "0"), ("1-3", "0"), ("0", "1-5"), ("1-2", "1-5")}
    assert len({setting.cost for setting in settings if setting.classifier == "logistic"}) > 1
    assert {setting.interpolation for setting in settings if setting.classifier == "nbsvm"} == {0.25, 0.5, 1.0}
    assert task.chosen.rank == max(tried.rank for tried in heard)
    assert task.chosen.score == (model.answers(valid.texts).argmax(1) == valid.targets).mean()
    loss = task.validate(model)
    assert loss is not None
    assert loss == pytest.approx(task.chosen.loss)


def test_the_temperature_changes_no_label_and_lowers_the_loss() -> None:
    train, valid = reviews(200, 7), reviews(100, 8)
    config = fixed("naive-bayes", added=0.01)
    tuned = BowTask(train, valid, "softmax", config).fit()
    plain = BowTask(train, NONE, "softmax", config).fit()
    assert plain.temperature == 1
    assert tuned.temperature != 1
    answers = [model.answers(valid.texts) for model in (tuned, plain)]
    np.testing.assert_array_equal(answers[0].argmax(1), answers[1].argmax(1))
    losses = [-np.log(each[np.arange(100), valid.targets]).mean() for each in answers]
    assert losses[0] <= losses[1]
    scores = log_softmax(np.log(answers[1]) / tuned.temperature, 1)
    np.testing.assert_allclose(np.log(answers[0]), scores, atol=1e-9)


def test_given_settings_are_kept() -> None:
    train, valid = reviews(80, 5), reviews(40, 6)
    config = BowConfig(classifier="nbsvm", word_ngrams="1-2", cost=3.0, stop_words="english")
    task = BowTask(train, valid, "softmax", config)
    model = task.fit()
    assert {t.setting.classifier for t in task.tried} == {"nbsvm"}
    assert {t.setting.cost for t in task.tried} == {3.0}
    assert {t.setting.word_ngrams for t in task.tried} == {"1-2"}
    assert "the" not in model.names()
    assert len(BowTask(train, NONE, "softmax", config).fit().layers) == 1


def test_short_texts_are_cut_into_characters() -> None:
    names = Texts(["Rossi", "Bianchi", "Ferrari", "Novak", "Dvorak", "Hajek"] * 5, np.array([0, 0, 0, 1, 1, 1] * 5))
    task = BowTask(names, NONE, "softmax")
    model = task.fit()
    assert (task.chosen.setting.word_ngrams, task.chosen.setting.char_ngrams) == ("0", "1-4")
    assert model.answers(["Verdi", "Nemec", ""]).shape == (3, 2)
    assert "k$" in model.names()


def test_numbers_and_sets_of_labels() -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(REST, 5)) for _ in range(200)]
    numbers = np.array([[100 + 10 * text.split().count("plot") - 5 * text.split().count("cast")] for text in texts])
    split = 150
    train, valid = Texts(texts[:split], numbers[:split]), Texts(texts[split:], numbers[split:])
    task = BowTask(train, valid, "identity")
    found = task.fit().answers(texts[split:])
    assert np.corrcoef(found[:, 0], numbers[split:, 0])[0, 1] > 0.98
    assert task.chosen.setting.classifier == "ridge"
    labels = np.array([[word in text.split() for word in ("plot", "cast", "nowhere")] for text in texts])
    task = BowTask(Texts(texts[:split], labels[:split]), Texts(texts[split:], labels[split:]), "sigmoid")
    found = task.fit().answers(texts[split:])
    assert ((found > 0.5) == labels[split:]).mean() > 0.95
    assert (found[:, 2] < 0.1).all()  # never seen


def test_what_cannot_be_fitted_says_so() -> None:
    train = reviews(20, 1)
    with pytest.raises(DataError, match="has no text in the training part"):
        BowTask(Texts(train.texts, np.zeros(20, np.int64)), NONE, "softmax")
    with pytest.raises(DataError, match="anything that is counted"):
        BowTask(Texts(["?!", "..."], np.array([0, 1])), NONE, "softmax", fixed("logistic")).fit()
    with pytest.raises(ConfigurationError, match="ridge is not for one label of several"):
        BowTask(train, NONE, "softmax", BowConfig(classifier="ridge"))
    with pytest.raises(ConfigurationError, match="nbsvm is not for numbers"):
        BowTask(Texts(train.texts, np.zeros((20, 1))), NONE, "identity", BowConfig(classifier="nbsvm"))
