"""The options of ``convert`` that shape an ONNX graph, and what they select."""

from __future__ import annotations

import argparse
from pathlib import Path

from compressae_ref.cli.given import called
from compressae_ref.errors import DomainError
from compressae_ref.files.stored_weights import Weights
from compressae_ref.model import Encoder
from compressae_ref.retrieval.spaces import EXPANSION

OPTIONS = ("query", "query_k", "k_input")


def add_onnx(command: argparse.ArgumentParser) -> None:
    """Declare `OPTIONS`."""
    text = (
        "with an OUTPUT .onnx, write what turns a dense query into u, the vector over the latents that scores codes, "
        "instead of the encoder; expanded: the largest entries of u; asymmetric: all of u"
    )
    command.add_argument("--query", choices=("expanded", "asymmetric"), help=text)
    text = "entries of an expanded query (default: 8 times those of a code)"
    command.add_argument("--query-k", type=int, help=text)
    text = "with an OUTPUT .onnx, make the number of entries an optional input of the graph, which sets the default"
    command.add_argument("--k-input", action="store_true", help=text)


def is_onnx(options: argparse.Namespace) -> bool:
    """Return whether ``options.output`` is an ONNX graph. DomainError for an option that would have no effect."""
    onnx = Path(options.output).suffix.lower() == ".onnx"
    if onnx and (small := [name for name in ("weights", "only") if name in options.given]):
        message = f"expected an OUTPUT that ends in .npz with {called(options, small[0])}, got {options.output}"
        hint = "an ONNX graph stores its weights as INPUT does, and no more of them than it needs"
        raise DomainError(message, argument="convert", hint=hint)
    given = [name for name in OPTIONS if name in options.given]
    if given and not onnx:
        message = f"expected an OUTPUT that ends in .onnx with {called(options, given[0])}, got {options.output}"
        raise DomainError(message, argument="convert")
    if options.query is not None and "k" in options.given:
        hint = "--query-k sets the number of entries of an expanded query"
        raise DomainError("expected no --k with --query, got both", argument="convert", hint=hint)
    if "query_k" in given and options.query != "expanded":
        got = "none" if options.query is None else f"--query {options.query}"
        raise DomainError(f"expected --query expanded with --query-k, got {got}", argument="convert")
    if "k_input" in given and options.query == "asymmetric":
        message = "expected no --k-input with --query asymmetric, which returns all entries, got both"
        raise DomainError(message, argument="convert")
    return onnx


def write_onnx(options: argparse.Namespace, model: Encoder, weights: Weights | None) -> str:
    """Write the graph; return a description."""
    from compressae_ref.files.weights.onnx_graph import save_onnx

    h, entries = model.params.n_latents, model.k
    if options.query == "expanded":
        entries = min(EXPANSION * model.k, h) if options.query_k is None else options.query_k
    settings = {"query": options.query, "query_k": entries, "k_input": options.k_input}
    save_onnx(options.output, model, weights=weights, **settings)
    what = f"{options.query} queries" if options.query else "the encoder"
    count = "" if options.query == "asymmetric" else f", k {entries}"
    stored = f", weights {weights}" if weights else ""
    size = f"{Path(options.output).stat().st_size:,} bytes"
    return f"an ONNX graph of {what}, d {model.params.d}, {h} latents{count}{stored}, {size}"
