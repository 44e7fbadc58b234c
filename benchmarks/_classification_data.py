"""What `classification_encoder.py` trains on: sets whose licenses let trained weights be shipped.

Two come from the data folder of the benchmarks, the others from checkouts of public repositories
below a folder of their own:

    clinc/oos-eval@828f809                      CC BY 3.0   oos-eval/
    xliuhw/NLU-Evaluation-Data@f6071b4          CC BY 4.0   NLU-Evaluation-Data/
    paul-rottger/hatecheck-data@d843022         CC BY 4.0   hatecheck-data/
    KayhanB21/YouTube-Spam-Collection@e1dcaf0   CC BY 4.0   YouTube-Spam-Collection/ (UCI's set)
    rewire-online/edos@b1f1fbc                  CC0 1.0     edos/
    amandacurry/convabuse@c0a9469               CC BY 4.0   convabuse/
    iabufarha/iSarcasmEval@dfc708b              MIT         iSarcasmEval/
    bhargaviparanjape/clickbait@203d979         MIT         clickbait/
    snipsco/nlu-benchmark@b86ac7f               CC0 1.0     nlu-benchmark/
"""

import csv
import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path

import _data
import numpy as np
import pandas as pd

# Apache-2.0 and MIT; all other sets of the data folder are left for evaluation.
FROM_DATA = ("goemotions", "sentiment_intensity")
POSITIVE = frozenset(
    [
        *("amusement", "excitement", "joy", "love", "desire", "optimism", "caring", "pride"),
        *("admiration", "gratitude", "relief", "approval"),
    ]
)
NEGATIVE = frozenset(
    [
        *("fear", "nervousness", "remorse", "embarrassment", "disappointment", "sadness", "grief"),
        *("disgust", "anger", "annoyance", "disapproval"),
    ]
)
DEGREES = np.array(["very negative", "negative", "neutral", "positive", "very positive"])
_WORDS = 48
_RUN = 8
_MOST_ROWS, _LEAST_OF_CLASS = 14_000, 5
_SOURCE_ROWS = 3_000


def labelings(checkouts: Path) -> dict[str, pd.DataFrame]:
    """Frames with text and label, without texts that stand, or nearly stand, in another set."""
    found = {
        **_feelings(),
        **_intents(checkouts),
        **_offence_and_spam(checkouts),
        **_tone_and_form(checkouts),
    }
    found["source"] = _sources(found)
    evaluated = EvaluationTexts()
    return {name: _kept(frame, evaluated) for name, frame in found.items()}


class EvaluationTexts:
    """Texts of all sets that nothing is trained on, and their runs of eight words."""

    def __init__(self) -> None:
        self.whole: set[str] = set()
        self.runs: set[int] = set()
        for path in sorted(_data.data_root().glob("*/*.parquet")):
            if path.parent.name in FROM_DATA:
                continue
            frame = pd.read_parquet(path)
            for column in ("text", "text_a", "text_b", "question"):
                for text in frame[column].astype(str) if column in frame else ():
                    self.whole.add(normalized(text))
                    self.runs.update(runs_of(text))

    def has(self, text: str) -> bool:
        """Whether a text, or eight of its words in a row, stand in one of the sets."""
        return normalized(text) in self.whole or not self.runs.isdisjoint(runs_of(text))


def normalized(text: str) -> str:
    return re.sub(r"\W+", " ", text[:400].lower()).strip()


def runs_of(text: str) -> Iterable[int]:
    words = normalized(text).split()
    return (hash(tuple(words[i : i + _RUN])) for i in range(len(words) - _RUN + 1))


def _frame(texts: Iterable[str], labels: Iterable[object]) -> pd.DataFrame:
    short = [" ".join(str(text).split()[:_WORDS]) for text in texts]
    frame = pd.DataFrame({"text": short, "label": [str(label) for label in labels]})
    return frame.drop_duplicates("text")


def _kept(frame: pd.DataFrame, evaluated: EvaluationTexts) -> pd.DataFrame:
    frame = frame[~frame["text"].map(evaluated.has)]
    counts = frame["label"].value_counts()
    frame = frame[frame["label"].isin(counts[counts >= _LEAST_OF_CLASS].index)]
    return frame.sample(min(_MOST_ROWS, len(frame)), random_state=0)


def _feelings() -> dict[str, pd.DataFrame]:
    root = _data.data_root()
    emotions = pd.read_parquet(root / "goemotions" / "train.parquet")
    emotions = emotions[emotions["labels"].map(len) == 1]
    emotion = emotions["labels"].map(lambda names: names[0])
    polarity = emotion.map(
        lambda name: (
            "positive"
            if name in POSITIVE
            else "negative"
            if name in NEGATIVE
            else "neutral"
            if name == "neutral"
            else "ambiguous"
        )
    )
    rated = _rated()
    degree = DEGREES[np.digitize(rated["label"], [-1.5, -0.5, 0.5, 1.5])]
    return {
        "emotion": _frame(emotions["text"], emotion),
        "polarity": _frame(emotions["text"], polarity),
        "sentiment": _frame(rated["text"], degree),
    }


def _rated() -> pd.DataFrame:
    rated = pd.read_parquet(_data.data_root() / "sentiment_intensity" / "train.parquet")
    return rated[rated["domain"] != "movieReviewSnippets"]  # they overlap with SST


def _intents(checkouts: Path) -> dict[str, pd.DataFrame]:
    folder = checkouts / "oos-eval" / "data"
    content = json.loads((folder / "data_full.json").read_text("utf-8"))
    domains = json.loads((folder / "domains.json").read_text("utf-8"))
    domain_of = {intent: domain for domain, intents in domains.items() for intent in intents}
    rows = [row for part in ("train", "val", "test") for row in content[part]]
    texts, intents = [row[0] for row in rows], [row[1] for row in rows]
    commands = []
    for path in sorted((checkouts / "NLU-Evaluation-Data").glob("**/KFold_*/testset/csv/*.csv")):
        with path.open(encoding="utf-8", errors="replace") as file:
            commands += [
                (row["answer_from_user"], row["scenario"], f"{row['scenario']} {row['intent']}")
                for row in csv.DictReader(file, delimiter=";")
                if row.get("answer_from_user")
            ]
    spoken = [command[0] for command in commands]
    orders = [
        ("".join(piece["text"] for piece in row["data"]), name)
        for path in sorted((checkouts / "nlu-benchmark").glob("2017*/*/train_*_full.json"))
        for name, rows in json.loads(path.read_text("latin-1")).items()
        for row in rows
    ]
    tasks = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower() for _, name in orders]
    return {
        "intent": _frame(texts, [intent.replace("_", " ") for intent in intents]),
        "domain": _frame(texts, [domain_of[intent].replace("_", " ") for intent in intents]),
        "command": _frame(spoken, [command[2] for command in commands]),
        "scenario": _frame(spoken, [command[1] for command in commands]),
        "task": _frame((text for text, _ in orders), tasks),
    }


def _offence_and_spam(checkouts: Path) -> dict[str, pd.DataFrame]:
    cases = pd.read_csv(checkouts / "hatecheck-data" / "test_suite_cases.csv")
    files = sorted((checkouts / "YouTube-Spam-Collection" / "dataset").glob("Youtube0*.csv"))
    comments = pd.concat([pd.read_csv(path) for path in files])
    texts = comments["CONTENT"].astype(str).str.replace("\ufeff", "")
    texts = texts.str.replace(r"<[^>]+>", " ", regex=True)
    return {
        "hate": _frame(cases["test_case"], cases["label_gold"]),
        "hatekind": _frame(cases["test_case"], cases["functionality"]),
        "spam": _frame(texts, np.where(comments["CLASS"] == 1, "spam", "comment")),
    }


def _tone_and_form(checkouts: Path) -> dict[str, pd.DataFrame]:
    """Sexism, abuse of chatbots, sarcasm, headlines."""
    posts = pd.read_csv(checkouts / "edos" / "data" / "edos_labelled_aggregated.csv")
    kinds = posts["label_category"].str.replace(r"^\d\. ", "", regex=True)
    tweets = pd.read_csv(checkouts / "iSarcasmEval" / "train" / "train.En.csv")
    tweets = tweets.dropna(subset="tweet")
    meant = tweets["rephrase"].dropna()
    tones = np.where(tweets["sarcastic"] == 1, "sarcastic", "literal")
    headlines = [
        (line, name)
        for name, file in (("clickbait", "clickbait_data.gz"), ("news", "non_clickbait_data.gz"))
        for line in _lines(checkouts / "clickbait" / "dataset" / file)
    ]
    return {
        "sexism": _frame(posts["text"], kinds.replace("none", "not sexist")),
        "abuse": _abuse(checkouts / "convabuse" / "2_splits"),
        "sarcasm": _frame([*tweets["tweet"], *meant], [*tones, *["literal"] * len(meant)]),
        "headline": _frame((line for line, _ in headlines), (name for _, name in headlines)),
    }


def _lines(path: Path) -> list[str]:
    content = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    return [line for line in content.splitlines() if line]


def _abuse(folder: Path) -> pd.DataFrame:
    """What users said to a chatbot, where the annotators' mean is not undecided."""
    parts = (pd.read_csv(path, dtype=str) for path in sorted(folder.glob("*.csv")))
    talks = pd.concat(parts, ignore_index=True)
    votes = {
        degree: talks.filter(regex=rf"is_abuse\.{degree}$").map(_count).sum(axis=1)
        for degree in ("1", "0", "-1", "-2", "-3")
    }
    mean = sum(int(degree) * count for degree, count in votes.items()) / sum(votes.values())
    talks = talks[mean != 0]
    mean = mean[mean != 0]
    degrees = np.where(mean > 0, "not abusive", np.where(mean > -1.5, "abusive", "very abusive"))
    return _frame(talks["user"].astype(str), degrees)


def _count(votes: object) -> int:
    """Votes of an annotator who saw a row several times are joined by commas."""
    return sum(map(int, votes.split(","))) if isinstance(votes, str) else 0


def _sources(found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Where a text comes from: how people write there."""
    named = {"reddit": "emotion", "query": "intent", "command": "command", "youtube": "spam"}
    named |= {"headline": "headline", "forum": "sexism"}
    texts = {source: found[name]["text"] for source, name in named.items()}
    texts |= {str(domain): part["text"] for domain, part in _rated().groupby("domain")}
    drawn = {
        source: part.sample(min(_SOURCE_ROWS, len(part)), random_state=0)
        for source, part in texts.items()
    }
    return _frame(
        [text for part in drawn.values() for text in part],
        [source for source, part in drawn.items() for _ in part],
    )
