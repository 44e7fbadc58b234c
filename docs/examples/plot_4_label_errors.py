"""
Finding label errors
====================

Some labels are wrong in every data set. A model that has not seen a row can say how much it
believes the row's label: sort by that, and look at the most doubtful rows first. Here one label
in ten is changed on purpose, so that we can count how many are found.
"""

# %%
# The data
# --------
#
# First sentences of docstrings, labeled by their package.

import numpy as np

from sktransfer.datasets import load_docstrings

docstrings = load_docstrings()
names = np.array(docstrings.target_names)
chosen = ["scipy.special", "scipy.stats", "sklearn", "torch.nn"]
is_chosen = np.isin(names[docstrings.target], chosen)
rng = np.random.default_rng(0)
rows = rng.permutation(np.flatnonzero(is_chosen))[:400]
texts = docstrings.data[rows].tolist()
right = names[docstrings.target[rows]]

given = right.copy()
is_wrong = np.zeros(len(rows), dtype=bool)
is_wrong[rng.choice(len(rows), len(rows) // 10, replace=False)] = True
for row in np.flatnonzero(is_wrong):
    given[row] = rng.choice([name for name in chosen if name != right[row]])

# %%
# Out-of-sample probabilities
# ---------------------------
#
# Every row is predicted by a model that was fitted on other rows. A linear model on frozen features
# (``max_epochs=0``) is enough for this, and reads each text once.

from sklearn.model_selection import cross_val_predict

from sktransfer import TransferTextClassifier

classifier = TransferTextClassifier(max_epochs=0, C=1.0, random_state=0)
probabilities = cross_val_predict(classifier, texts, given, cv=5, method="predict_proba")
classes = np.unique(given)
belief = probabilities[np.arange(len(rows)), np.searchsorted(classes, given)]

# %%
# The most doubtful rows
# ----------------------

order = belief.argsort()
for row in order[:8]:
    mark = "wrong" if is_wrong[row] else "     "
    print(f"{mark} {given[row]:14} {belief[row]:.2f}  {texts[row][:70]}")

# %%
# How many of the wrong labels are among the first n rows that we look at, beside looking in
# random order:

from matplotlib import pyplot as plt

found = np.cumsum(is_wrong[order]) / is_wrong.sum()
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(np.arange(1, len(rows) + 1), found, label="doubtful rows first")
axes.plot([0, len(rows)], [0, 1], linestyle="--", color="gray", label="random order")
axes.set_xlabel("rows looked at")
axes.set_ylabel("wrong labels found")
axes.legend(frameon=False)
plt.show()
print(f"after {len(rows) // 5} of {len(rows)} rows: {found[len(rows) // 5 - 1]:.0%}")

# %%
# Packages such as cleanlab take the same probabilities, and set the threshold for you.
