"""Row formats: how X is checked, and how its rows become token ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, cast

from sktransfer.inputs.columns import check_columns, encode_apart, encode_columns
from sktransfer.inputs.rows import EncodedRows, encode_rows
from sktransfer.inputs.texts import Row
from sktransfer.inputs.tokens import Tokenizer


class RowFormat(Protocol):
    """How an estimator reads X; the `repr` names everything that shapes the token ids.

    Attributes
    ----------
    cut_message : str
        Warning about texts that were cut, with fields `n` and `max_length`.
    """

    cut_message: ClassVar[str]

    @property
    def reads_whole(self) -> bool:
        """Whether a row longer than a window is read as a whole."""
        ...

    def check(self, X: Any, *, name: str = "X") -> Sequence[Row]:
        """Rows of `X`, which errors call `name`, or an error that names the row and what to do."""
        ...

    def n_columns(self, rows: Sequence[Row]) -> int:
        """Columns of texts in each row."""
        ...

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int) -> EncodedRows:
        """Token ids of `rows`, in windows of at most `max_length`."""
        ...


@dataclass(frozen=True)
class TextFormat:
    """One text per row, or several texts per row, the same number in all rows.

    Parameters
    ----------
    long_texts : {"window", "truncate"}, default="window"
        How single texts longer than `max_length` are read.
    symmetric : bool, default=False
        Whether rows of several texts are read in both orders.
    missing : {"error", "empty"}, default="error"
        Whether missing texts are errors or empty texts.
    bi_encoder : bool, default=False
        Whether the two texts of a row are read apart rather than in one window.
    """

    long_texts: Literal["window", "truncate"] = "window"
    symmetric: bool = False
    missing: Literal["error", "empty"] = "error"
    bi_encoder: bool = False

    cut_message: ClassVar[str] = (
        "{n} texts are longer than max_length={max_length} tokens and were cut; "
        "long_texts='window' reads single texts whole."
    )

    @property
    def reads_whole(self) -> bool:
        """Whether long texts are read in windows."""
        return self.long_texts == "window"

    def check(self, X: Any, *, name: str = "X") -> Sequence[Row]:
        """Texts, or tuples of texts where `X` has several columns."""
        rows = check_columns(X, name=name, missing=self.missing)
        if self.symmetric and self.n_columns(rows) == 1:
            raise ValueError(
                f"symmetric=True needs rows of several texts, got one column of {name}."
            )
        return rows

    def n_columns(self, rows: Sequence[Row]) -> int:
        """1, or the length of the tuples."""
        return 1 if isinstance(rows[0], str) else len(rows[0])

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int) -> EncodedRows:
        """Windows of a long text, one window of all columns, or one of each."""
        if self.n_columns(rows) == 1:
            texts = cast(Sequence[str], rows)
            return encode_rows(texts, tokenizer, max_length=max_length, long_texts=self.long_texts)
        columns = cast(Sequence[tuple[str, ...]], rows)
        if self.bi_encoder:
            return encode_apart(columns, tokenizer, max_length=max_length)
        return encode_columns(columns, tokenizer, max_length=max_length, symmetric=self.symmetric)
