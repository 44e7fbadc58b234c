"""
Spam, from the file to the service
==================================

From start to finish: read a file, look at it, compare with TF-IDF, fit, choose a threshold by the
cost of mistakes, look at the words that decided, and save the model for a service.

The messages are those of the SMS Spam Collection (Almeida et al. 2011), if they can be read
from the web; without a network, messages that are put together from phrases take their place.
The output says which it was.
"""

# %%
# The file
# --------

import io
import random
import urllib.request
import zipfile

import numpy as np
import pandas as pd

URL = "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip"


def stand_in(n_rows):
    """Messages that are put together from phrases, one in seven of them spam."""
    draw = random.Random(0)
    phrases = {
        "spam": (
            ["Win", "Claim", "You have won", "Urgent! Collect", "Last chance to get"],
            ["a free phone", "a 500 cash prize", "a holiday for two", "your reward", "tickets"],
            ["Call now", "Text WIN", "Reply YES, 150p per msg", "Call to claim", "Visit us"],
        ),
        "ham": (
            ["Shall we meet", "I will call you", "Lunch", "Can you get the kids", "Won the game"],
            ["at noon", "after the class", "tomorrow", "when you are free", "tonight"],
            ["Call me if late", "Love you", "Let me know", "Bring the tickets", "See you there"],
        ),
    }
    rows = []
    for _ in range(n_rows):
        kind = "spam" if draw.random() < 1 / 7 else "ham"
        # One phrase in six is of the other kind.
        other = "ham" if kind == "spam" else "spam"
        kinds = [kind if draw.random() < 5 / 6 else other for _ in range(3)]
        parts = [phrases[one][place] for place, one in enumerate(kinds)]
        start, middle, end = (draw.choice(part) for part in parts)
        rows.append((kind, f"{start} {middle}. {end} {draw.randint(1, 99)}"))
    return pd.DataFrame(rows, columns=["label", "text"])


try:
    with urllib.request.urlopen(URL, timeout=10) as answer:
        archive = zipfile.ZipFile(io.BytesIO(answer.read()))
    with archive.open("SMSSpamCollection") as file:
        messages = pd.read_csv(file, sep="\t", names=["label", "text"], quoting=3)
    source = "SMS Spam Collection"
except OSError:
    messages, source = stand_in(1500), "stand-in"
messages = messages.drop_duplicates("text").sample(frac=1, random_state=0).head(700)
print(source, messages["label"].value_counts().to_dict())
for label, text in zip(messages["label"][:6], messages["text"][:6], strict=True):
    print(f"{label:5} {text[:90]}")

# %%
# Is it worth a language model?
# -----------------------------

from sktransfer import TransferTextClassifier, compare

result = compare(messages["text"], messages["label"], budgets=(16, 64), n_repeats=2, test_size=200)
for sentence in result.verdict():
    print(sentence)

# %%
# The fit
# -------

from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split

train, test = train_test_split(messages, test_size=0.6, stratify=messages["label"], random_state=0)
classifier = TransferTextClassifier(random_state=0).fit(train["text"], train["label"])
print(classification_report(test["label"], classifier.predict(test["text"]), digits=3))

# %%
# The threshold
# -------------
#
# A message that is lost is worse than spam that gets through. `FixedThresholdClassifier` reports
# spam only above a higher probability.

from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier

careful = FixedThresholdClassifier(
    FrozenEstimator(classifier), threshold=0.9, pos_label="spam"
).fit(train["text"], train["label"])
lost = (careful.predict(test["text"]) == "spam") & (test["label"] == "ham")
through = (careful.predict(test["text"]) == "ham") & (test["label"] == "spam")
print(f"{lost.sum()} messages lost, {through.sum()} spam messages let through")

# %%
# The words that decided
# ----------------------

from matplotlib import pyplot as plt

from sktransfer.inspection import WordImportanceDisplay

spam = test["text"][test["label"] == "spam"].iloc[[0]]
WordImportanceDisplay.from_estimator(classifier, spam).plot()
plt.show()

# %%
# The service
# -----------
#
# `save` keeps the estimator. `export` writes a graph for ONNX Runtime, which predicts without
# PyTorch and starts in less than a second (:doc:`../deploy`).

from pathlib import Path
from tempfile import mkdtemp

import sktransfer

folder = Path(mkdtemp()) / "spam"
classifier.save(folder)
again = sktransfer.load(folder)
same = np.array_equal(again.predict(test["text"]), classifier.predict(test["text"]))
size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
print(f"{size:.1f} MB, the same predictions: {same}")
