"""Write fitted estimators so that `sktransfer.serving` can read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sktransfer.encoders import FastTokenizer
from sktransfer.fitting.context import window_length
from sktransfer.fitting.lexical import LexicalChannel
from sktransfer.fitting.onnx import onnx_arrays, write_onnx
from sktransfer.fitting.predictor import Predictor
from sktransfer.fitting.served_files import (
    DOCUMENT_FILE,
    FILES,
    FORMAT,
    LEXICAL_FILE,
    NETWORK_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    WORDS_FILE,
    Document,
    Output,
    Reading,
)
from sktransfer.inputs import Row, TextFormat, prompt_of, unprompted
from sktransfer.runtime import refuse_other_content, replaced_folder

# Tells ONNX Runtime's quantizer that a model is preprocessed; it logs a warning otherwise.
_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")
_ROWS_AT_ONCE = 32


def write_served(
    predictor: Predictor,
    name: str,
    output: Output,
    example: Sequence[Row],
    folder: Path,
    measured: Sequence[Row] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Write graph, tokenizer, TF-IDF model and settings to `folder`, as a whole.

    Parameters
    ----------
    predictor : Predictor
        The fitted network.
    name : str
        Class of the estimator.
    output : Output
        What the network's outputs mean.
    example : sequence of Row
        Two rows or more, one of two windows, which show the graph's writer what it reads.
    folder : Path
        New, empty, or written here before.
    measured : sequence of Row or None, default=None
        If there are any, the matrix products of the graph are in int8.

    Returns
    -------
    tuple of two ndarray or None
        Outputs (n_rows, n_outputs) of the graph for the rows `measured`, before and after.
    """
    files = (*FILES, WEIGHTS_FILE)
    refuse_other_content(folder, files, (folder / DOCUMENT_FILE).is_file)
    tokenizer = unprompted(predictor.tokenizer)
    if not isinstance(tokenizer, FastTokenizer):
        raise ValueError(
            f"encoder: its tokenizer, a {type(tokenizer).__name__}, cannot be written to a file; "
            "use an encoder with a tokenizer.json."
        )
    document: Document = {
        "format": FORMAT,
        "version": metadata.version("sktransfer"),
        "estimator": name,
        "reading": _reading(predictor, tokenizer, example),
        "output": output,
        "has_lexical": predictor.lexical is not None,
    }
    outputs = None
    with replaced_folder(folder) as new:
        network = new / NETWORK_FILE
        write_onnx(predictor, example, network, features=output["kind"] == "features")
        if measured is not None:
            before = _graph_outputs(network, predictor, measured)
            _quantize(network)
            outputs = before, _graph_outputs(network, predictor, measured)
        (new / TOKENIZER_FILE).write_text(tokenizer.backend.to_str(), "utf-8")
        if predictor.lexical is not None:
            _write_lexical(predictor.lexical, new)
        text = json.dumps(document, indent=1, allow_nan=False)
        (new / DOCUMENT_FILE).write_text(text + "\n", "utf-8")
    return outputs


def _quantize(path: Path) -> None:
    """Let the weights of matrix products be in int8, with a scale for each output."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = _PREPARED
    quantize_dynamic(
        model,
        path,
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["MatMul", "Gemm"],
    )


def _graph_outputs(path: Path, predictor: Predictor, rows: Sequence[Row]) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = [rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE)]
    found = [session.run(None, onnx_arrays(predictor, part))[0] for part in parts]
    return np.concatenate(found)


def _reading(predictor: Predictor, tokenizer: FastTokenizer, example: Sequence[Row]) -> Reading:
    row_format = predictor.row_format
    assert isinstance(row_format, TextFormat)
    return {
        "n_columns": row_format.n_columns(example),
        "max_length": window_length(predictor.model.encoder, row_format, predictor.max_length),
        "long_texts": row_format.long_texts,
        "symmetric": row_format.symmetric,
        "bi_encoder": row_format.bi_encoder,
        "missing": row_format.missing,
        "prompt": prompt_of(predictor.tokenizer),
        "pad_id": tokenizer.pad_id,
        "special_tokens": bool(tokenizer.prefix or tokenizer.suffix or tokenizer.separator),
    }


def _write_lexical(lexical: LexicalChannel, folder: Path) -> None:
    vectorizer = lexical.vectorizer.vectorizer
    np.savez(
        folder / LEXICAL_FILE,
        idf=vectorizer.idf_,
        pairs=vectorizer.pairs_,
        coef=lexical.weights.coef,
        intercept=lexical.weights.intercept,
    )
    (folder / WORDS_FILE).write_text(json.dumps(vectorizer.words_), "utf-8")
