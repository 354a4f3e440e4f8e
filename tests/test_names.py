"""Words, names, fidelity and namers of segments, against a plain implementation with dictionaries."""

from __future__ import annotations

import math
import random
import threading
import unicodedata
import warnings
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compressae_ref.errors import CompressaeError, DTypeError, ShapeError
from compressae_ref.segments import terms as counting
from compressae_ref.segments.composing import Candidate, compose, made_distinct, name_lengths
from compressae_ref.segments.contrast import contrast, logarithm
from compressae_ref.segments.fidelity import held_out
from compressae_ref.segments.membership import Members
from compressae_ref.segments.namer import PROMPT, Evidence, named_by
from compressae_ref.segments.names import name_segments, pick_texts
from compressae_ref.segments.terms import Corpus, Vocabulary, vocabulary, word_counts
from compressae_ref.segments.words import JOINERS, UNSPACED, joined, printable, related, words_of

TRICKY = (
    "aZß1²’'\u200c\u200d\u0301\ufe0f İΣςक्षिاب한社会ーｶﾞกิ้ເကែ々\U00020000\U0001f600\U00010400\U000e0100\ud800\x00.-_\n٣〇"
)
WORDS = ["social", "security", "socials", "iraq", "naïve", "社会主", "किताब", "don't", "x1", "кот", "taxed", "taxes"]
WORDS += [first + second for first in ("ba", "ce", "di", "fo") for second in ("lan", "mer", "tis", "rok", "nux")]


def kinds_of(c):
    kind = unicodedata.category(c)[0]
    return kind, kind in "LM" and any(first <= ord(c) <= last for first, last in UNSPACED)


def plain_words(text):
    """R32, one character after the other."""
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    kinds, result, i = [kinds_of(c) for c in text], [], 0
    while i < len(text):
        (kind, unspaced), start = kinds[i], i
        if unspaced and kind == "L":
            units = []
            while i < len(text) and (kinds[i][1] or (kinds[i][0] == "M" and i > start)):
                if kinds[i][0] == "L":
                    units.append(text[i])
                else:
                    units[-1] += text[i]
                i += 1
            result += [a + b for a, b in pairwise(units)]
        elif kind in "LN":
            while i < len(text) and (
                (kinds[i][0] in "LMN" and not kinds[i][1])
                or (
                    text[i] in JOINERS
                    and kinds[i - 1][0] in "LM"
                    and i + 1 < len(text)
                    and kinds[i + 1] == ("L", False)
                )
            ):
                i += 1
            word = text[start:i]
            if 1 < len(word) <= 50 and any(kinds_of(c)[0] == "L" for c in word):
                result.append(word)
        else:
            i += 1
    return result


@given(st.one_of(st.text(), st.text(TRICKY, max_size=40), st.text("ab1' .", max_size=20)))
@example("y" * 50 + " " + "z" * 51)
@example("İß ΟΔΟΣ Ὀδυσσεύς")
def test_words_are_those_of_the_rule(text):
    assert words_of(text) == plain_words(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't say 'no' in the 1990s: 12 x", ["don't", "say", "no", "in", "the", "1990s"]),
        ("हिन्दी में किताब", ["हिन्दी", "में", "किताब"]),
        ("می‌خواهم", ["می\u200cخواهم"]),
        ("社会主義 2020年 Python言語", ["社会", "会主", "主義", "python", "言語"]),
        ("ที่นี่", ["ที่นี่"]),
        ("ΟΔΟΣ Straße ＡＢ l’eau", ["οδος", "straße", "ab", "l'eau"]),
    ],
)
def test_words_of_scripts(text, words):
    assert words_of(text) == words


@pytest.mark.parametrize("piece", ["1", "é1", "a'", "é'", "社", "้", "é ", "\u200d", "x"])
def test_a_text_of_a_million_characters_takes_no_time(piece):
    assert len(words_of("é" + piece * (1_000_000 // len(piece)))) <= 1_000_000


@given(st.one_of(st.text(), st.text(TRICKY + "\u202e\u2028\t\xa0", max_size=40)))
def test_printable_text_is_one_line_of_what_can_be_seen(text):
    shown = printable(text)
    assert all(c.isprintable() or c in JOINERS for c in shown)
    assert printable(shown) == shown == " ".join(shown.split(" "))
    assert printable("a\x00b\tc\u202e\n d") == "ab c d"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("tax", "tax", True), ("tax", "taxes", False), ("farm", "farmers", True), ("kansas", "kant", False),
        ("iraq", "iraqis", True), ("terrorists", "terrorism", True), ("unemployed", "unemployment", True),
        ("interest", "interstate", False), ("社会", "会主", True), ("社会", "主義", False), ("社会", "social", False),
    ],
)  # fmt: skip
def test_inflections_are_related(first, second, same):
    assert related(first, second) == related(second, first) == same


def test_pairs_are_written_as_their_script_does():
    assert [joined("social", "security"), joined("社会", "会主"), joined("社会", "主義"), joined("iraq")] == [
        "social security", "社会主", "社会 主義", "iraq",
    ]  # fmt: skip


# the whole, against dictionaries


class Again:
    """Texts that are made anew each time."""

    def __init__(self, texts):
        self.texts = texts

    def __iter__(self):
        yield from self.texts


def members_of(segments, S):
    keys = np.array([(s // 2, 1 - 2 * (s % 2)) for s in range(S)], np.int32).reshape(-1, 2)
    segments = np.array(segments, np.int32)
    return Members(keys, segments, (segments >= 0).astype(np.float32))


@st.composite
def named_items(draw):
    """Texts of few words, some of them empty, and segments with words of their own; items in none, one or several."""
    rng, S = random.Random(draw(st.integers(0, 2**32))), draw(st.integers(1, 8))
    n, m = draw(st.integers(1, 250)), draw(st.integers(1, min(S, 2)))
    segments, texts = [], []
    for _ in range(n):
        own = rng.sample(range(S), rng.randint(0, m))
        segments.append(own + [-1] * (m - len(own)))
        words = [WORDS[(4 * s + i) % 32] for s in own for i in range(4) if rng.random() < 0.8]
        words += rng.choices(WORDS, k=rng.randint(0, 2)) + rng.choices(["the", "of", "7"], k=rng.randint(0, 2))
        texts.append(rng.choice([None, "", "12"]) if rng.random() < 0.1 else rng.choice([" ", ", "]).join(words))
    return texts, members_of(segments, S)


def remembered(items, most):
    """Return the words that are held after the words of all items, and their counts (R33)."""
    held = Counter()
    for words in items:
        held.update(set(words))
        if len(held) > most:
            limit = sorted(held.values(), reverse=True)[most // 2]
            held = Counter({word: count for word, count in held.items() if count > limit})
    return held


def plain_names(texts, members, method, most):
    """R33 to R35, E43 and E44, one item after the other."""
    S, n = len(members.keys), len(texts)
    held = [(i * 2654435761 % 2**32) * 5 < 2**32 for i in range(n)]
    words = [words_of(text or "") for text in texts]
    own = [[s for s in row if s >= 0] for row in members.segments.tolist()]
    has = [{(w,) for w in ws} | set(pairwise(ws)) for ws in words]
    everywhere = Counter(term for i in range(n) if not held[i] for term in has[i])
    inside = [Counter(t for i in range(n) if not held[i] and s in own[i] for t in has[i]) for s in range(S)]
    size, total = [sum(s in own[i] and not held[i] for i in range(n)) for s in range(S)], n - sum(held)
    known = remembered((words[i] for i in range(n) if not held[i]), most)
    vocabulary = {(word,): everywhere[(word,)] for word, count in known.items() if count >= 5}
    sums = [sum(inside[s][t] for t in vocabulary) for s in range(S)]

    def score(s, term):
        y, f = inside[s][term], everywhere[term]
        if method == "c-tf-idf":
            return float(y * logarithm(1 + sum(sums) / S / f))
        return float(contrast(y, f - y, sums[s], sum(vocabulary.values()) - sums[s]).z)

    def candidate(s, term):
        return Candidate(term, score(s, term), inside[s][term])

    composed = []
    for s in range(S):
        rest = total - size[s]
        allowed = [
            candidate(s, t)
            for t, f in vocabulary.items()
            if inside[s][t]
            and 10 * (f - inside[s][t]) <= rest
            and inside[s][t] * rest >= 3 * (f - inside[s][t]) * size[s]
        ]
        ranked = sorted(allowed, key=lambda c: (-c.score, -c.items, c.words))[:30]
        best = {c.words[0] for c in ranked}
        pairs = [t for t in inside[s] if len(t) == 2 and t[0] != t[1] and {*t} <= best]
        composed.append(compose(ranked, [candidate(s, t) for t in pairs]))
    rates = []
    for s, length in enumerate(name_lengths(composed)):
        name = {c.words for c in composed[s][:length]}
        hits = {i for i in range(n) if held[i] and name & has[i]}
        mine = {i for i in range(n) if held[i] and s in own[i]}
        others = sum(held) - len(mine)
        recall = len(hits & mine) / len(mine) if name and mine else math.nan
        precision = len(hits & mine) / len(hits) if name and hits else math.nan
        rates.append((recall, precision, 2 * recall / (1 + recall + len(hits - mine) / others) if others else math.nan))
    return composed, rates, sum(not ws for ws in words)


@given(named_items(), st.sampled_from(["c-tf-idf", "log-odds"]), st.sampled_from([12, 1_000_000]))
def test_names_are_those_of_plain_dictionaries(items, method, most):
    texts, members = items
    names = name_segments(texts, members, method=method, most_words=most)
    composed, rates, wordless = plain_names(texts, members, method, most)
    assert names.terms == [[(joined(*c.words), c.score, c.items) for c in own] for own in composed]
    assert np.array_equal(np.stack(names[2:5], axis=1), np.array(rates), equal_nan=True)
    assert names.wordless == wordless
    assert len({name.casefold() for name in names.names}) == len(names.names)
    for name, own, key in zip(names.names, composed, members.keys.tolist(), strict=True):
        assert name.startswith(", ".join(joined(*c.words) for c in own[:3]) or f"latent {key[0]} {'- +'[key[1] + 1]}")


@given(named_items(), st.integers(1, 9), st.integers(1, 9))
def test_blocks_change_no_byte(items, rows, words):
    texts, members = items
    expected = name_segments(texts, members)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "ITEMS_PER_BLOCK", rows)
        patch.setattr(counting, "WORDS_PER_BLOCK", words)
        names = name_segments(Again(texts), members)
    assert repr(names) == repr(expected)


@given(named_items(), st.randoms())
def test_the_order_of_items_changes_no_count(items, rng):
    texts, members = items
    held, order = held_out(len(texts)), list(range(len(texts)))
    rng.shuffle(order)
    results = []
    for rows in (range(len(texts)), order):
        rows = list(rows)
        own = members._replace(segments=members.segments[rows])
        corpus = Corpus([texts[i] for i in rows], own, held[rows])
        words, wordless = vocabulary(corpus)
        results.append(repr((words, wordless, word_counts(corpus, words))))
    assert results[0] == results[1]


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=40), st.integers(2, 9), st.integers(1, 9))
def test_words_are_forgotten_after_the_item_with_which_too_many_are_held(items, most, rows):
    items = [[f"w{i:02}" for i in item] for item in items]
    held, counted = remembered(items, most), Vocabulary(most)
    for start in range(0, len(items), rows):
        block = items[start : start + rows]
        counted.add([word for item in block for word in item], np.array([len(item) for item in block], np.int64))
    for least in range(1, 9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(counting, "LEAST_ITEMS", least)
            assert counted.terms() == sorted(word for word, count in held.items() if count >= least)


def test_a_fifth_of_the_items_is_held_out():
    held = held_out(100_000)
    assert held[:9].tolist() == [i * 2654435761 % 2**32 < 2**32 / 5 for i in range(9)]
    assert abs(held.mean() - 0.2) < 0.001


# composing names


def test_a_pair_is_taken_for_words_that_are_seldom_apart():
    def terms(pair_items):
        ranked = [Candidate((word,), 1.0, items) for word, items in (("security", 30), ("social", 20), ("benefits", 9))]
        pairs = [Candidate(("social", "security"), 1.0, pair_items), Candidate(("social", "benefits"), 1.0, 4)]
        return [" ".join(c.words) for c in compose(ranked, pairs)]

    assert terms(20) == ["social security", "benefits"]
    assert terms(19) == ["security", "social", "benefits"]


@given(st.lists(st.text("ab", min_size=4, max_size=6), max_size=40, unique=True), st.data())
def test_no_two_terms_have_related_words(words, data):
    ranked = [Candidate((word,), 1.0, 1) for word in words]
    chosen = data.draw(st.lists(st.permutations(words).map(lambda p: tuple(p[:2])), max_size=9)) if words[1:] else []
    terms = compose(ranked, [Candidate(pair, 1.0, 1) for pair in chosen])
    assert len(terms) <= 10
    for i, term in enumerate(terms):
        assert not any(related(a, b) for other in terms[:i] for a in other.words for b in term.words)
    # A word that is left out is related to one that was taken, or there are ten terms.
    taken = [word for term in terms for word in term.words]
    assert len(terms) == 10 or all(any(related(word, other) for other in taken) for word in words)


def test_names_with_the_same_terms_get_more_of_them():
    composed = [[Candidate((word,), 1.0, 1) for word in words] for words in ("abcd", "bacx", "cab", "xyz")]
    assert name_lengths(composed) == [4, 4, 3, 3]


@given(
    st.lists(st.sampled_from(["Tax", "tax", "iraq", "tax (latent 0 +)", "tax (latent 0 +) (latent 0 +)"]), max_size=9)
)
def test_names_are_made_distinct_by_keys(names):
    distinct = made_distinct(names, [f"latent {i} +" for i in range(len(names))])
    assert len({name.casefold() for name in distinct}) == len(names)
    for name, result in zip(names, distinct, strict=True):
        folded = name.casefold()
        alike = [o for o in map(str.casefold, names) if o.startswith(folded) or folded.startswith(o)]
        assert result.startswith(name)
        assert result == name or len(alike) > 1


# bad texts


TWO = members_of([[0], [0], [0]], 1)


@pytest.mark.parametrize(
    ("texts", "error", "words"),
    [
        (["a", "b"], ShapeError, "expected 3 texts, one for each item, got 2"),
        (["a", "b", "c", "d"], ShapeError, "expected 3 texts, one for each item, got at least 4"),
        (["a", 5, "c"], DTypeError, "got int in row 1"),
        (["a", float("nan"), "c"], DTypeError, "got float in row 1"),
        (iter(["a", "b", "c"]), DTypeError, "list_iterator; pass a list"),
        ((text for text in "abc"), DTypeError, "generator"),
        ("abc", DTypeError, "got str"),
        ({"a", "b", "c"}, DTypeError, "got set"),
        ({"a": 1, "b": 2, "c": 3}, DTypeError, "got dict"),
        (None, DTypeError, "got NoneType"),
    ],
)
def test_bad_texts_are_named(texts, error, words):
    with pytest.raises(error, match=words) as caught:
        name_segments(texts, TWO)
    assert caught.value.argument == "texts"


def test_unknown_methods_are_refused():
    with pytest.raises(CompressaeError, match="expected one of c-tf-idf, log-odds, got 'tfidf'"):
        name_segments(["a"] * 3, TWO, method="tfidf")


def test_a_model_without_segments_has_no_names():
    assert name_segments(["a", None], members_of([[-1], [-1]], 0))[:2] == ([], [])
    assert name_segments([None] * 3, TWO).names == ["latent 0 +"]


def test_texts_that_are_shown_are_short_and_safe():
    texts = ["a\x1b[31m\tb", None, "x" * 10**6, "never"]
    assert pick_texts(Again(texts), [2, 0, 1]) == {0: "a[31m b", 2: "x" * 300}
    assert pick_texts(iter(()), []) == {}
    with pytest.raises(ShapeError, match="expected at least 8 texts, got 4"):
        pick_texts(texts, [7])


# namers


def evidence(i):
    return Evidence(i, 1, f"computed {i}", ("iraq", "saddam hussein"), (f"strong {{{i}}}",), ("near",), ("far", "away"))


EVIDENCE = [evidence(i) for i in range(4)]


def raising(_):
    raise RuntimeError("no\x1b quota\nleft")


FAULTS = [
    (raising, "RuntimeError: no quota"),
    (lambda _: 5, "expected a string, got int"),
    (lambda _: None, "expected a string, got NoneType"),
    (lambda _: " '' \n", "got an empty string"),
    (lambda _: "x" * 81, "at most 80 characters, got 81"),
    (lambda _: "a\nb", "control characters"),
    (lambda _: "a\u202eb", "control characters"),
    (lambda _: "a\ud800", "control characters"),
]


@pytest.mark.parametrize(("bad", "words"), FAULTS)
def test_a_namer_that_fails_costs_one_name(bad, words):
    with pytest.warns(UserWarning, match="namer: 1 of 4 segments keep their computed names: ") as caught:
        names = named_by(lambda e: bad(e) if e.latent == 1 else f' "name {e.latent}"\n', EVIDENCE)
    assert names == ["name 0", None, "name 2", "name 3"]
    assert len(caught) == 1
    assert words in str(caught[0].message)


def test_a_namer_that_hangs_is_not_called_again():
    free, calls = threading.Event(), []

    def hanging(one):
        calls.append(one.latent)
        return "good" if one.latent == 0 else str(free.wait(60))

    with pytest.warns(UserWarning, match=r"3 of 4 segments .* no answer within 0\.2 seconds"):
        assert named_by(hanging, EVIDENCE, timeout=0.2) == ["good", None, None, None]
    free.set()
    assert calls == [0, 1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_the_run(error):
    def interrupted(_):
        raise error

    with pytest.raises(error):
        named_by(interrupted, EVIDENCE)


def test_names_of_namers_are_made_distinct():
    answers = ["War", "war", "COMPUTED 3", 3]
    with pytest.warns(UserWarning, match="1 of 4"):
        names = named_by(lambda e: answers[e.latent], EVIDENCE)
    assert names == ["War (latent 0 +)", "war (latent 1 +)", "COMPUTED 3 (latent 2 +)", None]


def test_a_good_namer_warns_of_nothing_and_reads_the_prompt():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert named_by(lambda e: e.prompt("{name} {terms}"), EVIDENCE[:1]) == ["computed 0 iraq, saddam hussein"]
    prompt = EVIDENCE[2].prompt()
    assert all(part in prompt for part in ("computed 2", "iraq, saddam hussein", "- strong {2}", "- far\n- away"))
    assert "{strongest}" in PROMPT


@pytest.mark.parametrize(
    ("namer", "timeout", "words"), [("gpt", 1.0, "got str"), (raising, 0, "timeout"), (raising, math.nan, "timeout")]
)
def test_bad_settings_of_namers_are_refused(namer, timeout, words):
    with pytest.raises(CompressaeError, match=words):
        named_by(namer, EVIDENCE, timeout)
