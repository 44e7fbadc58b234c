"""
Text beside numbers, with gaps
==============================

Support tickets have a subject, a text and numbers, and some of them are empty. A
``ColumnTransformer`` gives each column to its own transformer; `TransferTextVectorizer` turns
the texts into features of a language model, named after their column.
"""

# %%
# The data
# --------
#
# Urgent tickets are about things that do not work, and come from customers with large
# contracts.

import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
urgent = [
    "The server is down",
    "Nobody can log in",
    "Our checkout fails with an error",
    "We lost all of our data",
    "The app crashes at start",
    "Payments are declined",
]
calm = [
    "How do I change my password",
    "Please send the invoice again",
    "A question on your roadmap",
    "Where is the documentation",
    "Can I add a second user",
    "A suggestion for the menu",
]
endings = ["since this morning", "again", "for our team", "on the web site", "in the new version"]
rows = []
for _ in range(120):
    is_urgent = bool(rng.random() < 0.5)
    sentence = rng.choice(urgent if is_urgent else calm)
    rows.append(
        {
            "text": f"{sentence} {rng.choice(endings)}",
            "contract": rng.lognormal(mean=3 + is_urgent, sigma=1),
            "urgent": is_urgent,
        }
    )
tickets = pd.DataFrame(rows)
tickets.loc[rng.choice(len(tickets), 12, replace=False), "text"] = None
tickets.loc[rng.choice(len(tickets), 12, replace=False), "contract"] = np.nan
tickets.head()

# %%
# The pipeline
# ------------
#
# ``missing="empty"`` reads a missing text as an empty one; the numbers are imputed as usual.
# ``max_epochs=0`` leaves the language model as it is: its features do not depend on the labels,
# and cross-validation reads each text once.

from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktransfer import TransferTextVectorizer

of_text = TransferTextVectorizer(max_epochs=0, missing="empty")
of_numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
columns = make_column_transformer((of_text, "text"), (of_numbers, ["contract"]))
model = make_pipeline(columns, LogisticRegression(C=10))
model

# %%
# Text alone, numbers alone, and both
# -----------------------------------

parts = {
    "text": make_column_transformer((of_text, "text")),
    "contract": make_column_transformer((of_numbers, ["contract"])),
    "both": columns,
}
scores = {
    name: cross_val_score(
        make_pipeline(part, LogisticRegression(C=10)), tickets, tickets["urgent"], cv=5
    )
    for name, part in parts.items()
}
for name, of_part in scores.items():
    print(f"{name:9} {of_part.mean():.3f} ± {of_part.std():.3f}")

# %%
from matplotlib import pyplot as plt

figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.boxplot([*scores.values()], orientation="horizontal", tick_labels=[*scores])
axes.set_xlabel("accuracy of five folds")
plt.show()

# %%
# Features are named after their column, so that a table keeps its meaning:

model.fit(tickets, tickets["urgent"])
names = model[0].get_feature_names_out()
print(names[:2], names[-2:])
