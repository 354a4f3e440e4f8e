"""Vectors of the names of segments."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from spec.generate.answers import Values
from spec.generate.build import Case, Flag, Group, accepts

Item = tuple[str | None, Sequence[int]]
"""A text, and the segments of its item."""

NO_BOUNDS = ["Words and names are equal, and numbers have the stated bits; NaN has the bits 7FF8000000000000."]
FOLDED = '.lower().replace("\\u2019", "\'")'


def words() -> Group:
    """Return the vectors of words."""
    flags = {
        "NoNormalForm": Flag("text is not normalised", ("R32",), (('unicodedata.normalize("NFKC", text).lower()', "text.lower()"),)),
        "Composed": Flag("text is brought to the normal form NFC", ("R32",), (('"NFKC"', '"NFC"'),)),
        "Decomposed": Flag("text is brought to the normal form NFKD", ("R32",), (('"NFKC"', '"NFKD"'),)),
        "UpperCase": Flag("words are not brought to lower case", ("R32",), ((FOLDED, '.replace("\\u2019", "\'")'),)),
        "CaseFolded": Flag("the case of words is folded, so that ß becomes ss", ("R32",), ((FOLDED, '.casefold().replace("\\u2019", "\'")'),)),
        "FinalSigma": Flag("Σ becomes σ at the end of words, too", ("R32",), ((FOLDED, f'{FOLDED}.replace("ς", "σ")'),)),
        "OneToOne": Flag("İ becomes one character", ("R32",), ((FOLDED, f'{FOLDED}.replace("i\\u0307", "i")'),)),
        "Curly": Flag("’ is no apostrophe", ("R32",), ((FOLDED, ".lower()"),)),
        "MarksSplit": Flag("words end before a mark", ("R32",), (('return kinds[i] in ("L", "M", "N") or joins', 'return kinds[i] in ("L", "N") or joins'),)),
        "MarkFirst": Flag("words may begin with a mark", ("R32",), (('elif kinds[i] in ("L", "N"):', 'elif kinds[i] in ("L", "M", "N"):'),)),
        "Apostrophes": Flag("words end before an apostrophe", ("R32",), (('return kinds[i] in ("L", "M", "N") or joins', 'return kinds[i] in ("L", "M", "N")'),)),
        "LastApostrophe": Flag("an apostrophe at the end of a word belongs to it", ("R32",), ((' and kinds[i + 1] == "L"', ""),)),
        "AfterDigit": Flag("an apostrophe after a digit belongs to a word", ("R32",), ((' and kinds[i - 1] in ("L", "M") and', " and"),)),
        "AfterMark": Flag("no apostrophe or joiner after a mark belongs to a word", ("R32",), (('kinds[i - 1] in ("L", "M") and', 'kinds[i - 1] == "L" and'),)),
        "BeforeDigit": Flag("an apostrophe before a digit belongs to a word", ("R32",), (('kinds[i + 1] == "L"', 'kinds[i + 1] in ("L", "N")'),)),
        "ZeroWidth": Flag("words end before U+200C and U+200D", ("R32",), (('in ("\'", "\\u200c", "\\u200d")', 'in ("\'",)'),)),
        "Underscore": Flag("_ belongs to words", ("R32",), (('"N") or joins', '"N") or joins or text[i : i + 1] == "_"'),)),
        "OneLetter": Flag("words of one letter are kept", ("R32",), (("2 <= i - start <= 50", "i - start <= 50"),)),
        "InUtf16": Flag("the characters of a word are counted in UTF-16", ("R32",), (("2 <= i - start <= 50", '2 <= len(text[start:i].encode("utf-16-le")) // 2 <= 50'),)),
        "InBytes": Flag("the characters of a word are counted in UTF-8", ("R32",), (("2 <= i - start <= 50", '2 <= i - start and len(text[start:i].encode("utf-8")) <= 50'),)),
        "LongWords": Flag("long words are kept", ("R32",), (("2 <= i - start <= 50", "2 <= i - start"),)),
        "Numbers": Flag("words without a letter are kept", ("R32",), (('if "L" in kinds[start:i] and 2', "if 2"),)),
        "Digits": Flag("digits part words", ("R32",), (('return kinds[i] in ("L", "M", "N") or joins', 'return kinds[i] in ("L", "M") or joins or i == start'), ("while in_word(text, kinds, i):", "while in_word(text, kinds, i, start):"), ("def in_word(text, kinds, i):", "def in_word(text, kinds, i, start):"))),
        "WholeRuns": Flag("a run of unspaced characters is a word", ("R32",), (("words += [units[t] + units[t + 1] for t in range(len(units) - 1)]", "words.append(text[start:i])"),)),
        "SingleUnits": Flag("each unit is a word", ("R32",), (("words += [units[t] + units[t + 1] for t in range(len(units) - 1)]", "words += units"),)),
        "NoOverlap": Flag("pairs of units do not overlap", ("R32",), (("for t in range(len(units) - 1)]", "for t in range(0, len(units) - 1, 2)]"),)),
        "Spaced": Flag("unspaced characters are as any others", ("R32",), (('kind in "LM" and any(', 'kind in "LM" and not any('), ("first <= ord(c) <= last", "True"))),
        "HanAlone": Flag("Thai and Lao are taken for scripts with spaces", ("R32",), (("    (0x0E00, 0x0EFF),\n", ""),)),
        "AboveBmp": Flag("Han above U+FFFF is taken for a script with spaces", ("R32",), (("    (0x20000, 0x3FFFF),\n", ""),)),
        "Hangul": Flag("Hangul is cut, too", ("R32",), (("(0xA9E0, 0xA9FF),", "(0xA9E0, 0xA9FF), (0xAC00, 0xD7A3),"),)),
        "UnspacedDigits": Flag("digits can be unspaced", ("R32",), (('is_unspaced = kind in "LM" and', 'is_unspaced = kind in "LMN" and'),)),
        "MarksAreUnits": Flag("a mark is a unit of its own", ("R32",), (('        if character_kind(c) == "l":\n            units', "        if c:\n            units"),)),
        "OtherMarks": Flag("a mark of another script ends a run", ("R32",), (('while kinds[i] in ("l", "m", "M"):', 'while kinds[i] in ("l", "m"):'),)),
    }  # fmt: skip
    cases = [
        ("a plain sentence; one letter, numbers", "The state-of-the-art X1 of 1999: a 3D_model, I say!", ("OneLetter", "Numbers", "Digits", "Underscore", "UpperCase")),
        ("apostrophes", "Don't rock'n'roll, l’été; dogs' 'tis a1'b 90's jan'97 e\u0302'a", ("Apostrophes", "LastApostrophe", "AfterDigit", "BeforeDigit", "Curly")),
        ("full width, a ligature, decomposed letters", "Ｔａｘ ﬁre cafe\u0301 Straße x²", ("NoNormalForm", "Composed", "Decomposed", "CaseFolded")),
        ("lower case of more than one character, a final sigma", "ΟΔΟΣ ΣΟΦΙΑ İZMİR", ("FinalSigma", "OneToOne")),
        ("marks and joiners", "किताब क्\u200dष می\u200cخواهم n\u0303\u0302'o \u0301abc", ("MarksSplit", "MarkFirst", "AfterMark", "ZeroWidth")),
        ("long words", f"{'b' * 50} {'c' * 51} {'ж' * 30} 𐐀 𐐀𐐁", ("LongWords", "InBytes", "InUtf16")),
        ("Han and Kana", "社会主義とiPhoneを使う。中、ｶﾞﾗｽの々ー", ("WholeRuns", "SingleUnits", "NoOverlap", "Spaced")),
        ("Thai and Lao", "น้ำท่วม ກິນເຂົ້າ", ("HanAlone", "MarksAreUnits")),
        ("marks of other scripts after Han", "葛\U000e0100飾区 社\u0301会", ("OtherMarks",)),
        ("Han above U+FFFF", "𠀀𠀁𠀂 丽", ("AboveBmp",)),
        ("Hangul and digits of Han", "한국어 사람 二〇x〇y", ("Hangul", "UnspacedDigits")),
        ("no words", "42 … 🙂 \u0301", ("Numbers",)),
    ]  # fmt: skip
    return Group(
        "words_of", "words_of", NO_BOUNDS, flags, [Case(what, own, {"text": text}) for what, text, own in cases]
    )


def names() -> Group:
    """Return the vectors of names."""
    flags = {
        "HeldOutToo": Flag("held-out items are used to find names", ("R33", "R35"), (("used, held = [i for i in range(n) if not is_held_out(i)], [", "used, held = [i for i in range(n)], ["),)),
        "EveryFifth": Flag("every fifth item is held out", ("R35",), (("return i * 2654435761 % 4294967296 * 5 < 4294967296", "return i % 5 == 0"),)),
        "SixItems": Flag("words in five items are not known", ("R33",), (("if count >= 5}", "if count >= 6}"),)),
        "FourItems": Flag("words in four items are known", ("R33",), (("if count >= 5}", "if count >= 4}"),)),
        "Occurrences": Flag("a word that a text repeats counts again", ("R33",), (("for word in set(words):", "for word in words:"),)),
        "NeverForgotten": Flag("no word is forgotten", ("R33",), (("if len(counts) > most_words:", "if False:"),)),
        "ForgottenEarly": Flag("words are forgotten as soon as there are most_words", ("R33",), (("if len(counts) > most_words:", "if len(counts) >= most_words:"),)),
        "EqualKept": Flag("words with the count at the middle are not forgotten", ("R33",), (("if count > least}", "if count >= least}"),)),
        "RareElsewhere": Flag("words that many items elsewhere have are candidates", ("R33",), (("if 10 * elsewhere <= others and y", "if y"),)),
        "ShareElsewhere": Flag("words with a lower share than three times that elsewhere are candidates", ("R33",), ((" and y * others >= 3 * elsewhere * size:", ":"),)),
        "OfAllItems": Flag("elsewhere is all items, not those outside of the segment", ("R33",), (("in_all[term] - inside[term], n - size", "in_all[term] - inside[term], n"),)),
        "MoreRanked": Flag("more than 30 candidates are used", ("R33",), (("in sorted(found)][:30]", "in sorted(found)]"),)),
        "FewerRanked": Flag("only 29 candidates are used", ("R33",), (("in sorted(found)][:30]", "in sorted(found)][:29]"),)),
        "LastWordFirst": Flag("of words with equal scores, the last comes first", ("R33",), (("in sorted(found)][:30]", "in sorted(sorted(found, reverse=True), key=lambda each: each[:2])][:30]"),)),
        "Utf16Order": Flag("words are ordered by UTF-16", ("R33",), (("found.append((-scores[term], -y, term))", 'found.append((-scores[term], -y, term[0].encode("utf-16-be")))'), ("return [term for less, fewer, term in sorted(found)]", 'return [(term.decode("utf-16-be"),) for less, fewer, term in sorted(found)]'))),
        "Smoothed": Flag("1 is not added to A / f", ("E43",), (("logarithm(1.0 + mean / f)", "logarithm(mean / f)"),)),
        "SumOfAll": Flag("A is the sum, not the mean over segments", ("E43",), (("sum(sums) / S", "sum(sums)"),)),
        "FrequencyAlone": Flag("the score is y", ("E43",), (("return y * logarithm(1.0 + mean / f)", "return float(y)"),)),
        "OneMethod": Flag("log-odds is c-tf-idf", ("E43",), (('if method == "c-tf-idf":', "if method:"),)),
        "OwnToo": Flag("the other side of the contrast has the items of the segment, too", ("E43",), (("contrast(y, f - y, in_segment, in_all - in_segment)[2]", "contrast(y, f, in_segment, in_all)[2]"),)),
        "OfItems": Flag("the contrast has numbers of items as totals", ("E43",), (("sums[s], total, mean, method)", "size, len(used), mean, method)"),)),
        "Delta": Flag("the score is δ, not z", ("E43",), (("in_all - in_segment)[2]", "in_all - in_segment)[0]"),)),
        "NoPairs": Flag("names have no pairs", ("R34",), (("terms.append(best[0][1] if best else term)", "terms.append(term)"),)),
        "AllPairs": Flag("pairs need not be in two thirds of the items of their words", ("R34",), (("if all([3 * inside[pair] >= 2 * inside[(word,)] for word in pair])]", "]"),)),
        "OfOneWord": Flag("pairs need only two thirds of the items of one of their words", ("R34",), (("if all([3 * inside[pair]", "if any([3 * inside[pair]"),)),
        "Doubled": Flag("a pair may have the same word twice", ("R33",), (("len(term) == 2 and term[0] != term[1] and", "len(term) == 2 and"),)),
        "FewestPairs": Flag("of several pairs, not the one with the most items is taken", ("R34",), (("sorted([(-inside[pair], pair)", "sorted([(inside[pair], pair)"),)),
        "LastPair": Flag("of equal pairs, the last is taken", ("R34",), (("terms.append(best[0][1] if", "terms.append([each for each in best if each[0] == best[0][0]][-1][1] if"),)),
        "TakenPair": Flag("a pair may have a word that is related to one of an earlier term", ("R34",), (("found = [pair for pair in found if not any([related(word, other) for word in pair for other in taken])]", "found = found[:]"),)),
        "Inflections": Flag("inflections of a word are terms, too", ("R34",), (("return a == b or shared >= 4 and", "return a == b or shared >= 99 and"),)),
        "ShortStems": Flag("words with three equal characters are related", ("R34",), (("return a == b or shared >= 4 and", "return a == b or shared >= 3 and"),)),
        "WholeWord": Flag("only words that begin with the other one are related", ("R34",), (("(shared == len(shorter) or 3 * shared >= 2 * len(longer))", "shared == len(shorter)"),)),
        "TwoThirds": Flag("words that begin with the other one are related only with two thirds of it", ("R34",), (("(shared == len(shorter) or 3 * shared >= 2 * len(longer))", "3 * shared >= 2 * len(longer)"),)),
        "UnspacedStems": Flag("words of unspaced characters are never related", ("R34",), (("return any([unit in units_of(b) for unit in units_of(a)])", "return a == b"),)),
        "ElevenTerms": Flag("a segment has more than ten terms", ("R34",), (("if len(terms) == 10 or any", "if any"),)),
        "FourTerms": Flag("a name has four terms", ("R34",), (("min(3, len(own))", "min(4, len(own))"),)),
        "SameTerms": Flag("names with the same terms do not get more", ("R34",), (("        if not longer:", "        if True:"),)),
        "OtherOrder": Flag("the same terms in another order count as other terms", ("R34",), (("names = [sorted(own[:length]) for", "names = [own[:length] for"),)),
        "Spaces": Flag("words of overlapping units are joined by a space", ("R34",), (("if len(term) == 2 and units[0][1]", "if False and units[0][1]"),)),
        "EqualNames": Flag("equal names stay equal", ("R34",), (("        if len(set(folded)) == len(names):", "        if names:"),)),
        "CaseOfNames": Flag("names are compared in lower case, not after case folding", ("R34",), (("name.casefold()", "name.lower()"),)),
        "NoKey": Flag("a segment without terms has an empty name", ("R34",), (("for term in own]) or key for own", "for term in own]) for own"),)),
        "MinusSign": Flag("the key of a negative segment has the sign U+2212", ("R34",), (("else '-'}", "else '\u2212'}"),)),
        "PlainF1": Flag("F1 is that of precision and recall, not the balanced one", ("E44",), (("2.0 * recall / (1.0 + recall + outside)", "2.0 * recall * rate(both, len(found)) / (recall + rate(both, len(found)))"),)),
        "OutsideOfAll": Flag("the share of the items found outside is that of all items", ("E44",), (("rate(len(found) - both, len(items) - members)", "rate(len(found) - both, len(items))"),)),
        "OfUsed": Flag("the items that found the names rate them", ("E44", "R35"), (("[terms_of(words[i]) for i in held], [segments[i] for i in held]", "[terms_of(words[i]) for i in used], [segments[i] for i in used]"),)),
        "AllTerms": Flag("all ten terms find items, not those of the name", ("E44",), (("rates(named[s], s, *seen)", "rates(terms[s], s, *seen)"),)),
        "WordsOfPairs": Flag("an item is found by one word of a pair", ("E44",), (("if any([term in terms for term in name])]", "if any([(word,) in terms for term in name for word in term])]"),)),
        "ZeroRates": Flag("numbers that would divide by zero are 0", ("E44",), (("return a / b if b > 0 else math.nan", "return a / b if b > 0 else 0.0"),)),
        "NoTerms": Flag("a name without terms has a recall", ("E44",), (("    if not name:\n        return math.nan", "    if False:\n        return math.nan"),)),
        "OnlyMissing": Flag("items whose text has no words are not counted as wordless", ("R32",), (("wordless = len([own for own in words if not own])", "wordless = len([text for text in texts if not text])"),)),
        "FewTexts": Flag("fewer texts than items are not refused", ("R33",), accepts),
        "ManyTexts": Flag("more texts than items are not refused", ("R33",), accepts),
    }  # fmt: skip
    rng = random.Random(5)
    others, tested = [("delta", [1])] * 24, [("alpha", [0]), ("delta", [1]), ("beta", [1])]
    counted = [("alpha beta gamma gamma", [0])] * 3 + [("alpha beta", [0]), ("alpha", [0])]
    stems = [*(f"stem{letter}" for letter in "abcdefghijklmnopqrstuvwxyzäöü"), "zeta", "zulu"]
    ranked = [*_shuffled(rng, stems, 5, 0), *others]
    planes = [(text, [0]) for text in ("𐐨𐐩 﨎﨏", "﨎﨏 𐐨𐐩") for _ in range(3)]
    pairs = [(text, [0]) for text in ("sweet home rule", "sweet home", "home rule") for _ in range(3)]
    pairs += [("bora bora", [2])] * 6 + [("big apple", [3])] * 5 + [("big", [3])] * 4
    related = _shuffled(rng, ["war", "wars", "farm", "farmhouses", "unemployed", "unemployment"], 8, 0)
    many = _shuffled(
        rng,
        ["kappa", "lambda", "sigma", "omega", "theta", "gamma", "epsilon", "omicron", "upsilon", "iota", "zeta", "tau"],
        8,
        0,
    )
    same = [(text, [0, 1]) for text, _ in _shuffled(rng, ["kappa", "lambda", "sigma", "omega", "theta"], 8, 0)]
    order = [(text, [0, 1]) for text, _ in _shuffled(rng, ["kappa", "lambda", "sigma", "omega"], 8, 0)]
    order += [("lambda sigma kappa", [0, 1]), ("kappa", [0]), ("lambda", [1])]
    alike = [("strasse", [0])] * 6 + [("straße", [1])] * 6 + [("", [3]), (None, [3]), ("2020 !", [2])]
    two = _placed([("alpha", [0])] * 6, [])
    cases = [
        Case("words that are drawn, c-tf-idf", ("HeldOutToo", "EveryFifth", "RareElsewhere", "Smoothed", "SumOfAll", "FrequencyAlone", "NoPairs", "TakenPair", "Inflections", "WholeWord", "UnspacedStems", "Spaces", "WordsOfPairs", "OnlyMissing"), _drawn(3, 70, 4)),
        Case("words that are drawn, log-odds", ("ShareElsewhere", "OfAllItems", "OneMethod", "OwnToo", "OfItems", "Delta", "AllPairs", "FewestPairs", "PlainF1", "OutsideOfAll", "OfUsed", "ZeroRates"), _drawn(4, 70, 4) | {"method": "log-odds"}),
        Case("words of five items, of four, and twice in three", ("SixItems", "FourItems", "Occurrences"), _asked(_placed([*counted, *others], tested), 2)),
        Case("more than twelve words", ("NeverForgotten", "ForgottenEarly", "EqualKept"), _drawn(8, 70, 4) | {"most_words": 12}),
        Case("31 candidates with equal scores", ("MoreRanked", "FewerRanked", "LastWordFirst"), _asked(_placed(ranked, tested), 2)),
        Case("words below and above U+FFFF", ("Utf16Order",), _asked(_placed([*planes, *others], tested), 2)),
        Case("pairs with equal words, and equal pairs", ("OfOneWord", "Doubled", "LastPair"), _asked(_placed([*pairs, *others], tested), 4)),
        Case("related words, and others with equal beginnings", ("ShortStems", "TwoThirds", "WholeWord", "Inflections"), _asked(_placed([*related, *others], tested), 2)),
        Case("twelve terms", ("ElevenTerms", "FourTerms", "AllTerms"), _asked(_placed([*many, *others], [*tested, ("tau", [0]), (many[0][0], [0])]), 2)),
        Case("two segments of the same items", ("SameTerms", "EqualNames"), _asked(_placed([*same, *[("delta", [2])] * 20], tested), 3)),
        Case("the same terms in another order", ("OtherOrder", "SameTerms"), _asked(_placed([*order, *[("delta", [2])] * 20], tested), 3)),
        Case("names that differ in case, and segments without terms", ("EqualNames", "CaseOfNames", "NoKey", "MinusSign", "NoTerms", "OnlyMissing"), _asked(_placed(alike, [("strasse", [0]), ("straße", [2]), ("x", [3])]), 4)),
        Case("fewer texts than items", ("FewTexts",), _asked(two, 1) | {"texts": ["alpha"] * (len(two) - 1)}, error="ShapeError"),
        Case("more texts than items", ("ManyTexts",), _asked(two, 1) | {"texts": ["alpha"] * (len(two) + 1)}, error="ShapeError"),
    ]  # fmt: skip
    return Group("name_segments", "name_segments", NO_BOUNDS, flags, cases)


def _shuffled(rng: random.Random, words: Sequence[str], n: int, segment: int) -> list[Item]:
    """Return items with the same words in another order each, so that hardly a pair is in two thirds of them."""
    return [(" ".join(rng.sample(words, len(words))), [segment]) for _ in range(n)]


def _drawn(seed: int, n: int, n_segments: int) -> Values:
    """Return items of one or two segments, or none, with the words of these and others."""
    rng = random.Random(seed)
    own = ["social security benefits taxes taxed", "iraq terrorists war", "don't schools teachers", "社会主義 社会"]
    items = list[Item]()
    for _ in range(n):
        segments = rng.sample(range(n_segments), rng.choice([0, 1, 1, 1, 2]))
        drawn = [word for s in segments for word in own[s].split() if rng.random() < 0.8]
        drawn += rng.choices(["people", "of", "the", "nation", "iraq", "1999"], k=2)
        items.append((rng.choice([None, "42"]) if rng.random() < 0.1 else " ".join(drawn), segments))
    return _asked(items, n_segments)


def _asked(items: Sequence[Item], n_segments: int) -> Values:
    width = max([1, *(len(own) for _, own in items)])
    return {
        "texts": [text for text, _ in items],
        "keys": np.array([(3 + s // 2, 1 - 2 * (s % 2)) for s in range(n_segments)], np.int32),
        "segments": np.array([[*own, *[-1] * (width - len(own))] for _, own in items], np.int32),
        "method": "c-tf-idf",
        "most_words": 1_000_000,
    }


def _placed(used: Sequence[Item], held: Sequence[Item]) -> list[Item]:
    """Return items such that the first ones find names and the others are held out (R35)."""
    waiting, tested, placed = list(used), list(held), list[Item]()
    while waiting or tested:
        of = tested if len(placed) * 2_654_435_761 % 2**32 * 5 < 2**32 else waiting
        placed.append(of.pop(0) if of else (None, ()))
    return placed


GROUPS = (words, names)
