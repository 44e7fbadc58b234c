"""
Few labels: is a language model worth it?
=========================================

You have some labeled sentences and a pipeline of TF-IDF and logistic regression. How much would
a pretrained language model add? `compare` answers for your own rows: both estimators are fitted
on the same splits, at growing numbers of labels.

The rows here are the first sentences of docstrings, and the label is the package that a
sentence comes from. They are read from the packages that are installed, so nothing is
downloaded.
"""

# %%
# The data
# --------

import numpy as np

from sktransfer.datasets import load_docstrings

docstrings = load_docstrings()
names = np.array(docstrings.target_names)
chosen = ["numpy", "scipy.special", "scipy.stats", "sklearn", "torch.nn"]
is_chosen = np.isin(names[docstrings.target], chosen)
texts = docstrings.data[is_chosen]
labels = names[docstrings.target[is_chosen]]
for text, label in zip(texts[::400], labels[::400], strict=True):
    print(f"{label:14} {text}")

# %%
# The comparison
# --------------
#
# Two repeats at 20 and 60 labels, each scored on 200 other sentences.

from sktransfer import compare

result = compare(texts, labels, budgets=(20, 60), n_repeats=2, test_size=200)
print(result)

# %%
# In a notebook, the result shows itself as a table with a plot. `verdict` says in words who is
# ahead, by how much, and where the winner is worse.

for sentence in result.verdict():
    print(sentence)

# %%
# The learning curves, with the standard deviation over the repeats:

from matplotlib import pyplot as plt

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
result.plot(axes)
plt.show()

# %%
# With more labels the two come closer: fit the language model while labels are scarce, and
# compare again when there are more.
