"""The facts about a model as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources

from compressae_ref.evaluation.report.quality import Facts, best_of, quality, share_axis, top_of
from compressae_ref.files.atomic_write import PathLike
from compressae_ref.page.document import document, write_document
from compressae_ref.page.markup import Markup, foreign, tag
from compressae_ref.page.plot import Axis, Line, plot
from compressae_ref.page.text import count, number, percent, safe

TEXT = 160
"""Characters of a text that are shown."""

SEARCHES = {
    "dense": "Before: dense vectors",
    "refined": "After: refined and packed codes, dense query",
    "sparse": "After: codes, sparse query",
}


def page(facts: Facts) -> str:
    """Return the facts of `facts.facts` as an HTML document, the same for the same facts.

    Texts may be hostile: they are escaped, cut, and lose their controls.
    """
    title = safe(facts["title"], 120) or "Report"
    style = [resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")]
    sections = (quality, _training, _usage, _latents, _searches)
    main = tag("main", *(section(facts, style) for section in sections))
    return document(title, _header(facts, title), main, style="".join(style))


def write_page(path: PathLike, facts: Facts) -> None:
    """Write the page to a file: all of it, or nothing."""
    write_document(path, page(facts))


# -- the top -----------------------------------------------------------------------------------------------------------


def _header(facts: Facts, title: str) -> Markup:
    return tag(
        "header",
        tag("h1", foreign(title, 120)),
        tag("p", " ".join(_summary(facts))),
        tag(
            "details",
            tag("summary", "How to read this page"),
            tag("ul", *(tag("li", line) for line in LEGEND)),
            tag("p", f"Model {safe(facts['digest'], 12).rstrip('…')}: {_settings(facts['training'])}.", class_="quiet"),
        ),
    )


def _summary(facts: Facts) -> Iterable[str]:
    yield (
        f"{count(facts['items'], 'item')} and {count(facts['queries'], 'query')} of {facts['d']:,} dimensions. "
        f"Each code has {count(facts['k'], 'entry')} of {facts['latents']:,} latents."
    )
    best = best_of(facts["quality"])
    if best is not None:
        top = top_of(best)
        yield (
            f"At {best['bytes_per_item']:,} bytes an item instead of {facts['dense_bytes']:,}, "
            f"{percent(best['recall'][top])} of the {top} nearest dense neighbours are found ({best['label']})"
            f"{_of_dense(best, facts['quality'])}."
        )


def _of_dense(row: Facts, rows: Sequence[Facts]) -> str:
    dense = rows[0]["ndcg"]
    return f"; nDCG@10 is {100 * row['ndcg'] / dense:.1f}% of that of dense vectors" if dense else ""


def _settings(training: Facts) -> str:
    shown = [name for name in ("objective", "steps", "batch_size", "lr", "seed", "dtype") if name in training]
    return ", ".join(f"{name.replace('_', ' ')} {safe(training[name], 40)}" for name in shown) or "settings unknown"


LEGEND = (
    "An item is stored as a code: k entries, each of a latent and a signed value. Each latent has an atom, a vector. "
    "The sum of values times atoms is the reconstruction.",
    "Recall@100 is the share of the 100 nearest dense neighbours that a search returns, with 95 % intervals over the "
    "queries.",
    "nDCG@10 rates the first ten results by the relevance that came with the data; earlier ranks count more.",
    "Refined codes choose their entries by matching pursuit. Packed codes take fewer bits for indices and values.",
    "Dense queries are not encoded; sparse queries are codes, which a database with sparse vectors compares.",
)

# -- training and latents ----------------------------------------------------------------------------------------------


def _training(facts: Facts, style: list[str]) -> Markup:
    history = [record for record in facts["history"] if record["validation_cosine"] is not None]
    if not history:
        why = "The model file has no history of its training, or no rows were held out."
        return tag("section", tag("h2", "Training"), tag("p", why), id="training")
    lines = [Line("validation cosine", [(record["step"], record["validation_cosine"]) for record in history])]
    latents = facts["latents"]
    lines.append(Line("dead latents", [(each["step"], each["dead_latents"] / latents) for each in history], False))
    last = history[-1]
    steps = Axis("step", 0, last["step"], (0, last["step"]), "{:,}".format)
    figure, rules = plot("curve", lines, steps, share_axis("share, or cosine"))
    style.append(rules)
    words = (
        f"At the end the cosine of held-out rows and their reconstructions is {last['validation_cosine']:.3f}, and "
        f"{count(last['dead_latents'], 'latent')} of {latents:,} "
        f"{'was' if last['dead_latents'] == 1 else 'were'} not used since the record before."
    )
    return tag("section", tag("h2", "Training"), tag("p", words), figure, id="training")


def _usage(facts: Facts, style: list[str]) -> Markup:
    usage, items, h = facts["usage"], max(facts["items"], 1), facts["latents"]
    points = [(rank + 1, used / items) for rank, used in zip(usage["ranks"], usage["items"], strict=True)]
    low, high = 1 / items, max([share for _, share in points] + [1 / items])
    lines = [Line("this model", points), Line("all equal", [(1, facts["k"] / h), (h, facts["k"] / h)], False)]
    ranks = Axis("latents, most used first", 1, h, (1, h), "{:,}".format)
    shares = Axis("share of items that store it, logarithmic", low, high, (low, high), percent, True)
    figure, rules = plot("usage", lines, ranks, shares)
    style.append(rules)
    return tag(
        "section",
        tag("h2", "How the latents are used"),
        tag("p", " ".join(_usage_words(facts))),
        figure,
        id="used",
    )


def _usage_words(facts: Facts) -> Iterable[str]:
    usage, h = facts["usage"], facts["latents"]
    yield f"No item stores {count(usage['dead'], 'latent')} of {h:,}."
    yield f"The entries are spread as if {number(usage['effective'], 3)} latents were used equally."
    cosines = facts["cosines"]
    if cosines["reconstruction"] is not None and cosines["pairs"] is not None:
        yield (
            f"The mean cosine of an item and its reconstruction is {cosines['reconstruction']:.3f}; "
            f"that of two random items is {cosines['pairs']:.3f}."
        )


def _latents(facts: Facts, _: list[str]) -> Markup:
    shown = facts["strongest"]
    listed = f"The {len(shown):,} that lead most items" if len(shown) < facts["keys"] else f"All {len(shown):,}"
    return tag(
        "section",
        tag("h2", "What single latents mean"),
        tag(
            "p",
            f"A latent leads an item if it is the largest entry of its code. {listed}, with the items in which they "
            "are strongest. Both signs of a latent are separate.",
        )
        if shown
        else tag("p", "No code has an entry."),
        tag(
            "form",
            tag("label", "Search ", tag("input", type="search", name="text", placeholder="name or text")),
            tag("button", "Reset", type="reset"),
            tag("p", role="status", aria_live="polite", class_="quiet"),
            hidden=True,
            data_parts="parts",
            data_what="latents",
        )
        if shown
        else None,
        tag("div", *map(_latent, shown), id="parts"),
        id="latents",
    )


def _latent(latent: Facts) -> Markup:
    key = f"latent {latent['latent']}{'+' if latent['sign'] > 0 else '−'}"
    name = foreign(latent["name"], 80) if latent["name"] else key
    ends = {f"{item['strength']:.2f}" for item in latent["items"]}
    return tag(
        "details",
        tag("summary", tag("h3", name), key if latent["name"] else None, tag("span", f"{latent['leads']:,} items")),
        tag(
            "div",
            tag(
                "p",
                f"Leads {count(latent['leads'], 'item')}; {latent['stored']:,} store it, with either sign. "
                f"Strongest items, strength {'–'.join(sorted({min(ends), max(ends)}))}:",
                class_="about",
            ),
            tag("ul", *(tag("li", _item(item)) for item in latent["items"]), class_="plain items"),
            id=f"l{latent['latent']}{'p' if latent['sign'] > 0 else 'n'}",
        ),
        class_="part",
    )


def _item(item: Facts) -> Markup:
    """Return an item as its text, or as its id if it has none, or as the number of its row."""
    named = f"row {item['row']:,}" if item["id"] is None else item["id"]
    if item["text"] is None:
        return tag("span", foreign(named, 80))
    return tag("span", foreign(item["text"], TEXT), tag("i", " ", foreign(named, 80)))


# -- before and after --------------------------------------------------------------------------------------------------


def _searches(facts: Facts, _: list[str]) -> Markup:
    shown = facts["searches"]
    note = "Results that the dense search returns, too, are bold. The codes are those of this page's model."
    return tag(
        "section",
        tag("h2", "Queries before and after"),
        tag("p", note, class_="quiet") if shown else tag("p", "All queries are rows of zeros."),
        *map(_search, shown),
        id="searches",
    )


def _search(query: Facts) -> Markup:
    columns = []
    for name, title in SEARCHES.items():
        found = query[name]
        kept = sum(hit["kept"] for hit in found)
        words = "" if name == "dense" else f": {kept} of {len(query['dense'])}"
        hits = (_hit(hit, bold=name != "dense" and hit["kept"]) for hit in found)
        columns.append(tag("div", tag("h4", f"{title}{words}"), tag("ol", *hits, class_="plain")))
    return tag("article", tag("h3", "Query: ", _item(query)), tag("div", *columns, class_="columns"))


def _hit(hit: Facts, *, bold: bool) -> Markup:
    shown = _item(hit)
    score = tag("i", f" {hit['score']:.3f}".replace("-", "−"))
    return tag("li", tag("b", shown) if bold else shown, score)
