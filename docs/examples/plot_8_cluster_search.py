"""
A search on a cluster
=====================

A grid search is many fits that do not depend on each other. scikit-learn hands them to joblib,
and joblib to a Dask cluster, here of two workers on one machine. On a real cluster only the
address of the scheduler differs.
"""

# %%
# The data
# --------
#
# First sentences of docstrings; the task is to tell which package they come from.

import numpy as np

from sktransfer.datasets import load_docstrings

docstrings = load_docstrings()
rng = np.random.default_rng(0)
rows = rng.permutation(len(docstrings.data))[:160]
texts, topics = docstrings.data[rows], docstrings.target[rows]
print(f"{len(texts)} sentences, {len(docstrings.target_names)} packages")

# %%
# The cluster
# -----------
#
# Each worker is a process of its own with one thread, which Dask tells PyTorch as well.

from dask.distributed import Client

client = Client(n_workers=2, threads_per_worker=1, dashboard_address=None)

# %%
# The search
# ----------
#
# Only the two top layers train. What the frozen layers below give of a text is the same in all
# fits: ``memory`` is a folder in which the workers share it, so that it is computed only once.
# ``get_task_stream`` records which worker did what, and when.

from tempfile import mkdtemp
from time import perf_counter

import joblib
from distributed import get_task_stream
from sklearn.model_selection import GridSearchCV

from sktransfer import TransferTextClassifier

search = GridSearchCV(
    TransferTextClassifier(trainable_layers=2, max_epochs=3, memory=mkdtemp(), random_state=0),
    {"learning_rate": [1e-4, 3e-4], "contrastive_weight": [0.0, 1.0]},
    cv=3,
    refit=False,
)
start = perf_counter()
with get_task_stream(client) as stream, joblib.parallel_config(backend="dask"):
    search.fit(texts, topics)
print(f"{len(search.cv_results_['params'])} settings x 3 folds in {perf_counter() - start:.0f} s")

# %%
# Both workers were busy all the time; the first bars are longer, because they load the encoder
# and fill the folder.

from matplotlib import pyplot as plt

workers = sorted({task["worker"] for task in stream.data})
figure, axes = plt.subplots(figsize=(9, 2), layout="constrained")
for task in stream.data:
    for part in task["startstops"]:
        if part["action"] == "compute":
            place = workers.index(task["worker"])
            width = part["stop"] - part["start"]
            axes.barh(place, width, left=part["start"], edgecolor="white", color=f"C{place}")
begin = min(part["start"] for task in stream.data for part in task["startstops"])
ticks = begin + np.arange(0, perf_counter() - start, 5)
axes.set_xticks(ticks, [f"{tick - begin:.0f}" for tick in ticks])
axes.set_yticks(range(len(workers)), [f"worker {number}" for number in range(len(workers))])
axes.set_xlabel("seconds")
plt.show()

# %%
# What the search found
# ---------------------
#
# The scores of a setting differ more between the folds than the settings differ among each other:
# with so few rows, the defaults will do.

for place, params in enumerate(search.cv_results_["params"]):
    mean = search.cv_results_["mean_test_score"][place]
    deviation = search.cv_results_["std_test_score"][place]
    print(f"{mean:.3f} ± {deviation:.3f}  {params}")

# %%
# A second search starts warm: the folder has what the frozen layers give, also for workers that
# start tomorrow. Ray works in the same way, see :doc:`/scale_out`.

client.close()
