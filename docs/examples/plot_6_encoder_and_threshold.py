"""
Choosing an encoder and a threshold
===================================

Which pretrained encoder should a classifier start from, and above which probability should it
report a text? `GridSearchCV` and `TunedThresholdClassifierCV` of scikit-learn choose both.

The rows are first sentences of docstrings. The task is to find those that come from the
statistics package of SciPy, about one in eight.
"""

# %%
# The data
# --------

import numpy as np
from sklearn.model_selection import train_test_split

from sktransfer.datasets import load_docstrings

docstrings = load_docstrings()
is_statistics = docstrings.target == docstrings.target_names.index("scipy.stats")
rng = np.random.default_rng(0)
rows = rng.permutation(len(docstrings.data))[:1200]
texts, y = docstrings.data[rows], is_statistics[rows]
train, test, y_train, y_test = train_test_split(texts, y, stratify=y, random_state=0)
print(f"{len(train)} texts to learn from, {y_train.mean():.1%} of them from scipy.stats")

# %%
# The encoder
# -----------
#
# An encoder is a parameter like any other. With ``max_epochs=0`` only a logistic regression is
# fitted, on features that are computed once per text and encoder, so the search is cheap.

from sklearn.model_selection import GridSearchCV

from sktransfer import TransferTextClassifier

search = GridSearchCV(
    TransferTextClassifier(max_epochs=0, lexical_weight=0, random_state=0),
    {"encoder": ["wordllama", "all-MiniLM-L6-v2", "minilm-classification"], "C": [1.0, 10.0]},
    scoring="average_precision",
    cv=4,
).fit(train, y_train)

for name, place in sorted(
    {(str(p["encoder"]), i) for i, p in enumerate(search.cv_results_["params"])}
):
    C = search.cv_results_["params"][place]["C"]
    print(f"{name:22} C={C:<5} {search.cv_results_['mean_test_score'][place]:.3f}")

# %%
# The threshold
# -------------
#
# Say that a missed text costs five times as much as a false alarm. `TunedThresholdClassifierCV`
# finds the probability above which it pays to report a text, by cross-validation on the training
# rows.

from sklearn.metrics import confusion_matrix, make_scorer
from sklearn.model_selection import TunedThresholdClassifierCV


def negative_cost(y_true, y_pred):
    (_, false_alarms), (missed, _) = confusion_matrix(y_true, y_pred)
    return -(false_alarms + 5 * missed)


tuned = TunedThresholdClassifierCV(
    search.best_estimator_, scoring=make_scorer(negative_cost), cv=4, store_cv_results=True
).fit(train, y_train)
print(f"report above a probability of {tuned.best_threshold_:.2f}")
print(f"cost on the test rows at 0.5: {-negative_cost(y_test, search.predict(test))}")
print(
    f"cost on the test rows at the tuned threshold: {-negative_cost(y_test, tuned.predict(test))}"
)

# %%
# The cost per threshold in cross-validation, and precision against recall on the test rows:

from matplotlib import pyplot as plt
from sklearn.metrics import PrecisionRecallDisplay

figure, (left, right) = plt.subplots(ncols=2, figsize=(9, 4), layout="constrained")
left.plot(tuned.cv_results_["thresholds"], -tuned.cv_results_["scores"])
left.axvline(tuned.best_threshold_, color="black", linestyle=":")
left.set_xlabel("threshold")
left.set_ylabel("cost, mean over the folds")
PrecisionRecallDisplay.from_estimator(search.best_estimator_, test, y_test, ax=right)
plt.show()

# %%
# Fine-tuning comes last: ``search.best_estimator_.set_params(max_epochs="auto")`` starts from
# the encoder and the regularization that were found here.
