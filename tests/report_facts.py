"""Facts about segments that are made up: speeches over 24 decades, in any number of segments."""

from __future__ import annotations

import numpy as np

TOPICS = (
    "slavery constitution territory", "gold silver notes", "canal panama tolls", "vietnam south asia",
    "inflation prices", "terrorists iraq security", "farm agriculture farmers", "tariff duties imports",
    "welfare reform work", "railroads commerce interstate", "indians tribes lands", "mexico texas boundary",
    "navy vessels coast", "banks deposits", "health insurance care", "energy oil independence",
    "soviet nuclear weapons", "schools teachers children",
)  # fmt: skip
WORDS = [*sorted({word for topic in TOPICS for word in topic.split()}), "the", "of", "our", "and", "in", "to", "that"]
CLASSES = ("rising", "falling", "peak", "new", "gone", "steady")
DECADES = [f"{year}s" for year in range(1790, 2030, 10)]


class Made:
    """Facts of n segments, whose texts have 300 characters."""

    def __init__(self, n=60, *, bins=24, sites=2, texts=True, weighted=False, model=True):
        self.rng = np.random.default_rng(n)
        self.n, self.sites, self.texts, self.weighted, self.model = n, sites, texts, weighted, model
        weeks = [f"{2020 + at // 52}-W{1 + at % 52:02d}" for at in range(bins)]
        self.labels = DECADES if bins == 24 else weeks
        self.unit = "decade" if bins == 24 else "week"
        self.speeches = 1 + 0.6 * np.sin(np.linspace(0, 7, bins))  # their lengths

    def facts(self) -> dict:
        segments = [self.segment(i) for i in range(self.n)]
        items = sum(one["items"] for one in segments)
        totals = self.speeches * items / max(1, len(self.labels))
        return {
            "title": "Annual addresses of the presidents of the United States",
            "items": items + 17, "unassigned": 17,
            "latents": 512, "k": 8, "assign": "dominant", "weighted": self.weighted,
            "model": "6f1a0c2277e9" if self.model else None,
            "bins": {"unit": self.unit, "labels": self.labels, "totals": totals.tolist()} if self.labels else None,
            "sites": [f"Site {s}" for s in range(self.sites)],
            "rising": of_classes(segments, "z", "rising", "new"),
            "falling": of_classes(segments, "last_z", "falling", "gone"),
            "hidden": [one["id"] for one in segments if one["hidden"]],
            "segments": segments,
            "groups": [{"id": g, "name": TOPICS[g], "segments": list(range(g, self.n, 9))}
                       for g in range(min(self.n, 9) if self.model else 0)],
        }  # fmt: skip

    def segment(self, i: int) -> dict:
        rng, topic = self.rng, TOPICS[i % len(TOPICS)]
        items, others = int(20 + 900 * rng.pareto(2)), [j for j in (i + 1, i + 7, i + 31, i + 55, i + 56) if j < self.n]
        words = [*topic.split(), *rng.choice(WORDS, 7).tolist()]
        return {
            "id": i, "latent": 3 * i, "sign": -1 if i % 10 == 9 else 1,
            "name": topic if i < len(TOPICS) else f"{topic} {WORDS[i % len(WORDS)]} {i}", "named_by": "c-tf-idf",
            "terms": [{"term": word, "score": 9 * 0.8**at, "items": 99 - at} for at, word in enumerate(words)],
            "fidelity": {"recall": 0.61, "precision": float(rng.uniform(0.1, 0.9)), "f1": float(rng.uniform(0.2, 0.8))},
            "items": items, "weight": items * (3.375 if self.weighted else 1.0), "share": items / (600 * self.n),
            "sites": [{"site": f"Site {s}", "weight": 12.0, "ratio": 1.7, "z": 4.1, "series": self.speeches.tolist()}
                      for s in range(min(self.sites, 5))],
            "strongest": self.strong(5), "median": self.strong(3), "borderline": self.strong(3),
            "opposite": self.strong(3),
            "neighbours": [{"id": j, "cosine": 0.41} for j in others if self.model],
            "with": [{"id": j, "z": 5.2, "ratio": 2.2} for j in others],
            "group": i % 9, "hidden": {"ratio": 2.4, "z": 4.4} if self.weighted and i % 20 == 3 else None,
            **self.times(i, items),
        }  # fmt: skip

    def times(self, i: int, items: int) -> dict:
        if not self.labels:
            return {"trend": None, "series": None, "spikes": []}
        rng, trend = self.rng, CLASSES[i % len(CLASSES)]
        shape = shape_of(trend, rng.random(), np.linspace(0, 1, len(self.labels)))
        expected = items * self.speeches * shape / shape.sum()
        series = rng.poisson(expected).astype(float).tolist()
        high = np.flatnonzero(shape >= 0.5 * shape.max())
        spikes = rng.choice(len(self.labels), min(2, len(self.labels)), replace=False).tolist() if i % 3 == 0 else []
        return {
            "trend": {
                "class": trend, "from": self.labels[high[0]], "to": self.labels[high[-1]],
                "z": float(rng.uniform(3, 30)), "ratio": float(rng.uniform(2, 20)),
                "last_ratio": float(rng.uniform(0, 4)), "last_z": -4.2,
            },
            "series": series, "spikes": [self.spike(at, series[at]) for at in spikes],
        }  # fmt: skip

    def spike(self, at: int, weight: float) -> dict:
        one_item = at % 2 == 0
        largest = self.item() | {"share": 0.82 if one_item else 0.04, "z_without": 0.4 if one_item else 8.8}
        return {
            "bin": at, "label": self.labels[at], "weight": weight + 40, "expected": 21.25, "z": 9.12,
            "largest": largest, "one_item": one_item, "items": [self.item() for _ in range(3)],
        }  # fmt: skip

    def item(self) -> dict:
        text = " ".join(self.rng.choice(WORDS, 70).tolist())[:300].capitalize()
        return {"row": int(self.rng.integers(21789)), "text": text if self.texts else None}

    def strong(self, count: int) -> list[dict]:
        return [self.item() | {"strength": float(self.rng.uniform(0.3, 0.95))} for _ in range(count)]


def of_classes(segments: list[dict], key: str, *classes: str) -> list[int]:
    chosen = [one for one in segments if one["trend"] and one["trend"]["class"] in classes]
    return [one["id"] for one in sorted(chosen, key=lambda one: -abs(one["trend"][key]))]


def shape_of(trend: str, at: float, places: np.ndarray) -> np.ndarray:
    """The expected share over time, of places from 0 to 1."""
    return {
        "rising": 0.1 + places**2,
        "falling": 0.1 + (1 - places) ** 2,
        "peak": 0.01 + np.exp(-(((places - at) / 0.06) ** 2)),
        "new": 1.0 * (places >= 0.7 * places[-1]),
        "gone": 1.0 * (places < 0.35),
        "steady": np.full(len(places), 0.5),
    }[trend]


def facts(n: int = 60, **how) -> dict:
    """Facts of n segments."""
    return Made(n, **how).facts()
