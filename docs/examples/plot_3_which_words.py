"""
Reading an explanation
======================

Why did the model say so? `word_importances` leaves out one word after the other and looks at
how the score changes: the importance of a word is the difference that it makes. A classifier
has two models, the network and a linear model on word counts; the importances tell them apart.
"""

# %%
from sktransfer import TransferTextClassifier

texts = [
    "a wonderful film with a great cast",
    "a moving story, beautifully told",
    "funny, warm and clever from start to end",
    "I loved every minute of it",
    "dull and slow, a waste of time",
    "a lazy script and wooden acting",
    "boring from start to end",
    "I wanted my money back",
]
labels = ["good"] * 4 + ["bad"] * 4
classifier = TransferTextClassifier(random_state=0).fit(texts, labels)

reviews = [
    "the cast is great, but the story is a mess",
    "not boring at all, a clever little film",
    "two hours that I will never get back",
]
for review, probability in zip(reviews, classifier.predict_proba(reviews), strict=True):
    print(f"{classifier.classes_[1]} {probability[1]:.2f}  {review}")

# %%
# In a notebook, the texts are colored: green speaks for the label before the text, red against
# it.

from sktransfer.inspection import WordImportanceDisplay

display = WordImportanceDisplay.from_estimator(classifier, reviews)
display

# %%
# The same as bars, for the first review. The network sees each word among the others; the model
# on word counts adds what it knows of the words themselves.

from matplotlib import pyplot as plt

display.plot(row=0)
plt.show()

# %%
# Integrated gradients are another way to the network's part. They need the same number of passes
# however many words a text has, and often agree on the words that matter most:

from sktransfer.inspection import word_importances

by_occlusion = word_importances(classifier, reviews)
by_gradient = word_importances(classifier, reviews, method="gradient")
for one, other in zip(by_occlusion, by_gradient, strict=True):
    first, second = one.words[one.network.argmax()], other.words[other.network.argmax()]
    print(f"{one.target}: occlusion {first!r}, gradient {second!r}")

# %%
# An importance is about one text and one model. Words that only decide together, or that each
# would decide alone, can have small ones.
