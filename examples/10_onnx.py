"""Text in, codes out: append the encoder to an embedding model, in one ONNX file that any ONNX runtime executes.

Run ``pip install '.[onnx]' onnxruntime`` in a clone, then ``python examples/10_onnx.py``. The embedding model is a small stand-in
that sums a random vector for each word, so that the example needs no download. With a sentence-transformers model that was
exported to ONNX and that pools by the mean, run ``python examples/10_onnx.py onnx/model.onnx tokenizer.json`` (needs tokenizers).

Equations: E3 to E5, E15, R1, R2. Pages of spec/: compressae.md. Chapter: examples/learn/2_forward_by_hand.py.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from compressae_ref import Codes, fit, search
from compressae_ref.demo_data import load_addresses
from compressae_ref.files.weights.onnx_graph import save_onnx

WORDS, D = 5000, 128
STAND_IN = f"""<ir_version: 8, opset_import: ["" : 17]>
words (int64[n, t] input_ids, int64[n, t] attention_mask) => (float[n, t, {D}] last_hidden_state)
{{ last_hidden_state = Gather (table, input_ids) }}"""

POOLING = """pooling (float[n, t, d] last_hidden_state, int64[n, t] attention_mask) => (float[n, d] pooled)
<int64[1] tokens = {1}, int64[1] last = {2}>
{
    pooling_mask = Cast <to = 1> (attention_mask)
    pooling_weights = Unsqueeze (pooling_mask, last)
    weighted = Mul (last_hidden_state, pooling_weights)
    pooled = ReduceSum <keepdims = 0> (weighted, tokens)
}"""
"""Mean pooling. The sum has the direction of the mean, and the encoder uses nothing else."""


def append(model: Any, graph: Any, outputs: list[str]) -> None:
    """Append the nodes and constants of a graph, whose inputs are values of the model, and replace the outputs."""
    model.graph.node.extend(graph.node)
    model.graph.initializer.extend(graph.initializer)
    del model.graph.output[:]
    model.graph.output.extend([output for output in graph.output if output.name in outputs])


Tokenize = Callable[[list[str]], dict[str, np.ndarray]]


def stand_in(onnx: Any) -> tuple[Any, Tokenize]:
    """Return an embedding model and its tokenizer: a random vector for each hash of a word."""
    model = onnx.parser.parse_model(STAND_IN)
    table = np.random.default_rng(0).standard_normal((WORDS, D)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(table, "table"))

    def tokenize(texts: list[str]) -> dict[str, np.ndarray]:
        words = [re.findall(r"\w{5,}", text.lower()) or [""] for text in texts]
        ids = [[int(hashlib.md5(word.encode()).hexdigest(), 16) % WORDS for word in row] for row in words]
        longest = max(map(len, ids))
        mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
        return {"input_ids": np.array([row + [0] * (longest - len(row)) for row in ids]), "attention_mask": mask}

    return model, tokenize


def sentence_transformer(onnx: Any, path: str, tokenizer: str) -> tuple[Any, Tokenize]:
    """Return an exported embedding model and its tokenizer."""
    from tokenizers import Tokenizer

    for file in (path, tokenizer):
        if not Path(file).is_file():
            sys.exit(f"error: {file}: expected a file, got none")
    known = Tokenizer.from_file(tokenizer)
    known.enable_padding()
    known.enable_truncation(256)
    names = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    model = onnx.version_converter.convert_version(onnx.load(path), 17)
    inputs, outputs = ([value.name for value in values] for values in (model.graph.input, model.graph.output))
    if "last_hidden_state" not in outputs or set(inputs) - set(names):
        expected = f"expected inputs among {', '.join(names)} and an output last_hidden_state"
        sys.exit(f"error: {path}: {expected}, got {', '.join(inputs)} and {', '.join(outputs)}")

    def tokenize(texts: list[str]) -> dict[str, np.ndarray]:
        rows = known.encode_batch(texts)
        return {name: np.array([getattr(row, names[name]) for row in rows], np.int64) for name in inputs}

    return model, tokenize


def main(arguments: list[str]) -> None:
    onnx, runtime = import_module("onnx"), import_module("onnxruntime")
    texts = load_addresses().texts[-1000:]
    embedder, tokenize = sentence_transformer(onnx, *arguments) if arguments else stand_in(onnx)

    def run(model: Any, texts: list[str], batch: int = 100) -> list[np.ndarray]:
        session = runtime.InferenceSession(model.SerializeToString())
        parts = [session.run(None, tokenize(texts[start : start + batch])) for start in range(0, len(texts), batch)]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    append(embedder, onnx.parser.parse_graph(POOLING), ["pooled"])
    x = run(embedder, texts)[0]
    model = fit(x, n_latents=512, k=16, steps=150, batch_size=256).model
    with tempfile.TemporaryDirectory() as folder:
        save_onnx(path := Path(folder) / "encoder.onnx", model)
        encoder = onnx.compose.add_prefix(onnx.load(path), "codes/")
    embedder.graph.node.append(onnx.helper.make_node("Identity", ["pooled"], ["codes/x"]))
    append(embedder, encoder.graph, ["codes/indices", "codes/values"])
    onnx.checker.check_model(embedder, full_check=True)

    indices, values = run(embedder, texts)
    expected = model.encode(x)
    same = (indices == expected.indices).all(axis=1)
    apart = np.abs(values - expected.values)[same].max()
    print(f"1. One ONNX file of {embedder.ByteSize():,} bytes, from words to codes, compared with Model.encode:")
    print(f"   {same.sum():,} of {len(texts):,} texts have the same latents; values differ by at most {apart:.0e}")
    query = "health insurance for children"
    row = search(Codes(*run(embedder, [query]), 512), Codes(indices, values, 512), 1).ids[0, 0]
    print(f"2. The paragraph nearest to '{query}':\n   {texts[row][:120]} ...")


if __name__ == "__main__":
    if len(sys.argv) not in (1, 3) or sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit("usage: 10_onnx.py [MODEL.onnx TOKENIZER.json]")
    needed = ("onnx", "onnxruntime", *(["tokenizers"] if sys.argv[1:] else []))
    if missing := [name for name in needed if find_spec(name) is None]:
        sys.exit(f"not installed: pip install {' '.join(missing)}")
    main(sys.argv[1:])
