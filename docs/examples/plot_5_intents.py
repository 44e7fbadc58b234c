"""
Intents with eight labels each, and messages that fit none
==========================================================

A help desk wants to know what a message is about, has eight examples of each intent, and wants to
pass on to a human what the model is not sure of. This is what few-shot classification is for: the
names of the intents are texts of their class, too.
"""

# %%
# The data
# --------

import numpy as np

from sktransfer import TransferTextClassifier

messages = {
    "lost card": [
        "my card is gone",
        "I cannot find my card",
        "somebody stole my wallet with the card in it",
        "I left my card in a taxi",
        "please block my card, it was stolen",
        "my card fell out of my pocket",
        "where can I report a missing card",
        "I think I lost my bank card",
        "my purse was taken and the card with it",
        "card missing since yesterday",
        "it was stolen in the tram",
    ],
    "card delivery": [
        "when will my new card arrive",
        "the card has not come yet",
        "how long does the mail take",
        "track the delivery of my card",
        "I am still waiting for my card",
        "is my card on its way",
        "can you send the card by courier",
        "my card should have been here last week",
        "has the new card been sent",
        "what day does the card get here",
        "no card in my mail box yet",
    ],
    "exchange rate": [
        "what is your exchange rate",
        "how much is a dollar in euros",
        "do you exchange yen",
        "is the rate better on weekdays",
        "which rate did you use for my payment abroad",
        "how are foreign currencies converted",
        "I got a bad rate for my pounds",
        "rate for swiss francs",
        "how many euros for a hundred dollars",
        "what do I get for my kronor",
        "currency conversion costs",
    ],
    "password": [
        "I forgot my password",
        "how do I reset my passcode",
        "cannot log in with my password",
        "change my password please",
        "the app does not accept my code",
        "my account is locked after three tries",
        "send me a link for a new password",
        "I do not remember my login",
        "the code that I typed is wrong",
        "let me choose another password",
        "locked out of the app",
    ],
    "refund": [
        "I want my money back",
        "how do I get a refund",
        "the shop cancelled my order, where is my money",
        "return the payment to me",
        "the refund has not arrived",
        "please reverse this payment",
        "I sent the goods back and wait for the money",
        "a refund is missing on my statement",
        "can this payment be returned",
        "they promised to pay me back",
        "when do I see the refund",
    ],
}
few = [text for of_intent in messages.values() for text in of_intent[:8]]
labels = np.repeat([*messages], 8)
new = [text for of_intent in messages.values() for text in of_intent[8:]]
true = np.repeat([*messages], 3)
unrelated = [
    "do you have an office in Lyon",
    "I would like to speak to the manager",
    "are you hiring",
    "what a lovely day",
    "do you offer loans for a house",
    "your hold music is terrible",
]

# %%
# Forty sentences are enough
# --------------------------

classifier = TransferTextClassifier(random_state=0).fit(few, labels)
print(f"accuracy on new messages: {classifier.score(new, true):.2f}")
print("label texts:", classifier.label_texts_)

# %%
# Who is passed on
# ----------------
#
# The highest probability of a message tells how sure the model is. Here are the ones of messages
# that fit no intent:

sure, unsure = (classifier.predict_proba(X).max(axis=1) for X in (new, unrelated))
for text, probability in zip(unrelated, unsure, strict=True):
    print(f"{probability:.2f} {text}")

# %%
from matplotlib import pyplot as plt

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(np.sort(sure), np.full(len(sure), 1), "o", alpha=0.6)
axes.plot(np.sort(unsure), np.zeros(len(unsure)), "o", alpha=0.6)
axes.set_yticks([0, 1], ["fits no intent", "new messages"])
axes.set_ylim(-0.5, 1.5)
axes.set_xlabel("highest probability")
plt.show()

# %%
# The help desk chooses a threshold: the higher it is, the more messages a human reads.

for threshold in (0.5, 0.6, 0.7, 0.8):
    print(
        f"below {threshold}: {np.mean(unsure < threshold):.0%} of the messages that fit no intent, "
        f"{np.mean(sure < threshold):.0%} of the others"
    )

# %%
# One message is confident and wrong: probabilities only say which intent fits best. Examples of
# such messages, as a class of their own, are the next thing to collect.
