# %% [markdown]
# # 1 What a code is
#
# An embedding model turns a text into a few hundred numbers. Nobody can read them, and every text needs all of them. CompresSAE replaces
# them with a *code*: 32 entries, each the number of a *latent* and a value. This chapter takes one code apart, in words.
#
# Equations: E3 to E7 and E9 of [the specification](../../spec/compressae.md), rules R2 and R10. Words: [glossary](../pages/glossary.md).

# %%
import difflib
import gzip

import numpy as np

import compressae_ref as csae
from compressae_ref import reference as ref
from compressae_ref.demo_data import load_demo_data
from drawings import chapters_1_to_3 as drawings
from drawings.look import EXAMPLES

# %% [markdown]
# ## The data and the model
#
# 4,010 items of WordNet, a dictionary in which an item is a word with one meaning. So *clock* stands there twice: the
# thing, and the verb *to clock a runner*. Each item has an embedding of d = 384 numbers. The model has h = 2,048
# latents. It was trained on 74,450 nouns for the [search page](../browser/README.md).

# %%
data = load_demo_data()
model = csae.load_model(EXAMPLES / "browser" / "data" / "model.npz")
codes = model.encode(data.items, k=32, backend="numpy")  # this backend starts fastest; all of them return the same bits
x_unit = ref.unit_rows(data.items, np.float32)
x_hat = model.decode(codes, backend="numpy")
cosines = ref.cosine(x_unit, x_hat)
print(codes)
print(f"mean cosine of an embedding with its reconstruction: {cosines.mean(dtype='f8'):.2f}")

# %% [markdown]
# Do the items and the model fit together? Most items were among the training data, word for word. The rest are verbs and
# adjectives, which the model has never seen, and some nouns.

# %%
with gzip.open(EXAMPLES / "browser" / "data" / "labels.txt.gz", "rt", encoding="utf-8") as lines:
    trained_on = {line.rstrip("\n").replace("\t", " (") + ")" for line in lines}
seen = np.array([name in trained_on for name in data.item_names])
for text, rows in (("seen in training", seen), ("not seen", ~seen)):
    print(f"{rows.sum():5,} items {text:<16}  mean cosine {cosines[rows].mean(dtype='f8'):.2f}")

# %% [markdown]
# So the model works for both, and better for what it was trained on. That is worth remembering for your own data.
#
# ## One item
#
# Our item is *alarm clock*. Its code is what is stored: 32 latents in ascending order (R2), and their values.

# %%
ITEM = "alarm clock"  # change it to look at another item
names = [label.split(" (")[0].split(",")[0] for label in data.item_names]
if ITEM not in names:
    near = [name for name in names if ITEM in name.split()][:3] + difflib.get_close_matches(ITEM, names, 5, 0.5)
    near = ", ".join(dict.fromkeys(near)) or "none"
    raise SystemExit(f"ITEM: expected the name of one of {len(names):,} items, got {ITEM!r}; near names: {near}")
row = names.index(ITEM)
indices, values = codes.indices[row], codes.values[row]
print(data.item_names[row])
print(indices)
print(values.round(1))

# %% [markdown]
# The 4,010 items are a small part of WordNet. Many everyday words are missing. Here are thirty of them:

# %%
everyday = (
    "apple bed book bread car cat chair clock day dog door eat eye hand horse "
    "house man milk rain red run sleep sun table thing time tree water way year"
)
print("present:", ", ".join(word for word in everyday.split() if word in names))
print("missing:", ", ".join(word for word in everyday.split() if word not in names))

# %% [markdown]
# If you choose a name that is missing, the error lists near names. The [live page](live.html) has a list to choose from. A script that
# you have changed overwrites the pictures of this page. To write them elsewhere, set the environment variable `PICTURES`:
# `PICTURES=my_pictures python examples/learn/1_what_a_code_is.py`.

# %%
drawings.idea(x_unit[row], codes.to_csr()[[row]].toarray()[0], x_hat[row], cosines[row])

# %% [markdown]
# ![Three rows of bars: the 384 numbers of an embedding, a code of 32 bars among 2,048 places, and 384 numbers much like the first](pictures/1_idea.png)
#
# Blue is positive, orange is negative. The first row cannot be read, and neither can the third. The second one can: this is how.
#
# ## 32 latents
#
# The same 32 values, the largest magnitude first.

# %%
order = np.argsort(-np.abs(values), kind="stable")
drawings.bars(indices[order], values[order], numbered=5)

# %% [markdown]
# ![32 bars by descending magnitude, some up and some down; latents 1323, 1870, 1751, 530 and 1700 come first](pictures/1_bars.png)
#
# > **Before you scroll on:** latent 1870 has the value −2.3. Does this mean that an alarm clock is *the opposite* of something?
#
# ## A latent in words
#
# A latent has no name. It is a number from 0 to 2,047, and training gave it whatever meaning lowered the loss. To see what it stands for,
# list the items that store it with the largest values, and do the same for the most negative values.

# %%
columns = codes.to_csr().tocsc()  # a column holds all items that store one latent


def strongest(latent: int, sign: int, top: int = 10) -> list[str]:
    """Return the items with the largest values of one sign."""
    column = columns[:, [latent]].tocoo()
    found = sorted((-sign * value, i) for i, value in zip(column.row, column.data, strict=True) if sign * value > 0)
    return [names[i] for _, i in found[:top]]


for sign in (+1, -1):
    print(f"{sign:+}", ", ".join(strongest(1870, sign)))

# %% [markdown]
# On its negative side, latent 1870 is about *sleep*. Its positive side is not “awake”. It is a handful of items without a common
# topic. So the answer is no: **the sign selects one of two ends, and the ends need not be opposites.** A latent is a direction in 384
# dimensions. Two topics that never occur in the same text can share it, one at each end, and this saves a latent. That is why the
# selection compares magnitudes (E5).
#
# Here are the five strongest latents of *alarm clock*.

# %%
table = []
for t in order[:5]:
    sign = 1 if values[t] > 0 else -1
    table.append((indices[t], values[t], strongest(indices[t], sign), strongest(indices[t], -sign)))
drawings.words(ITEM, table)

# %% [markdown]
# ![A table of five latents with the ten strongest items of each side in words](pictures/1_words.png)
#
# An alarm clock is *clock, time* + *sleep* + *kinds of clocks* + … + *warning, siren*. Nobody told the model these topics.
#
# Now look at what is **not** clean. Latent 530 is on in about a tenth of all items and mixes waves, leagues and lenses. Most other sides
# hold few items, and these have little in common. Both are usual: only some latents have a topic that fits into a word.
# Latent 1714 is one of the few with a topic on either side: *bidding* on one, *crime and justice* on the other.

# %%
for sign in (+1, -1):
    print(f"{sign:+}", ", ".join(strongest(1714, sign)))

# %% [markdown]
# ## A sum of atoms
#
# Each latent has an *atom*: a unit row of 384 numbers in `W_dec`. The reconstruction is the sum of the 32 atoms, each times its value
# (E7). In the picture each row is a strip of 384 numbers, scaled to norm 1. Compare the last two.

# %%
atoms = model.params.W_dec
parts = [values[t] * atoms[indices[t]] for t in order]
rows = {f"{values[t]:+.1f} × atom {indices[t]}".replace("-", "−"): parts[place] for place, t in enumerate(order[:3])}
rows |= {"… 29 more, added up": sum(parts[3:]), "= x̂, the sum of all 32": x_hat[row], "x̄, the embedding": x_unit[row]}
drawings.strips(rows)

# %% [markdown]
# ![Strips of colours: three atoms, the sum of the others, and two strips at the bottom that look alike, x̂ and x̄](pictures/1_sum.png)
#
# ## How many atoms are enough?
#
# A shorter code needs no other model: the code for a smaller k has the k largest entries (E6, R2). So keep 1, 2, 4 … atoms, decode, and
# compare with the embedding (E9). Then use x̂ as the query, and look for its nearest items: the embeddings that have the largest cosine
# with x̂. So the query is a stored item that was decoded, and the items are dense vectors. The last line uses the embedding itself as
# the query.
#
# The live page has this comparison as its fourth list, *query x̂*. Its other lists compare codes with codes, and a dense query
# with codes (E15 and E17, chapter 5), so their numbers differ from these.
#
# > **Before you scroll on:** how many of the 32 atoms must you keep until *alarm clock* finds itself?


# %%
def nearest(vector, top=6):
    """Return the numbers of the items whose embeddings have the largest cosine with a vector, ties by number (R10)."""
    return ref.best(ref.cosine(x_unit, vector[None])[None], top)[0]


steps = [1, 2, 4, 8, 16, 32]
reconstructions = [model.decode(codes.truncate(k), backend="numpy")[row] for k in steps] + [x_unit[row]]
curve = [ref.cosine(x_unit[[row]], found[None])[0] for found in reconstructions]
for k, c, found in zip([*steps, "x̄"], curve, reconstructions, strict=True):
    print(f"{k:>2}  {c:.2f}  {', '.join(names[i] for i in nearest(found))}")

# %% [markdown]
# Now count: how many of the ten nearest neighbours of the embedding are among the ten of x̂? The item itself is left out. One item is an
# anecdote, so do the same for every fourth item.


# %%
def ten_others(vectors, rows):
    """Return the ten items nearest to each vector, without the item that the vector stands for."""
    scores = vectors @ x_unit.T  # the length of a query does not change its order
    scores[np.arange(len(rows)), rows] = -np.inf
    return np.argpartition(-scores, 10, axis=1)[:, :10]


rows = np.array([row, *range(0, len(names), 4)])  # our item first
true = ten_others(x_unit[rows], rows)
shown, counts = [], []
for k in steps:
    x_hat_k = model.decode(codes.truncate(k), backend="numpy")[rows]
    shown.append(ref.cosine(x_unit[rows], x_hat_k))
    counts.append([len(set(a) & set(b)) for a, b in zip(true, ten_others(x_hat_k, rows), strict=True)])
shown, counts = np.array(shown), np.array(counts)
mean_cosines, mean_counts = shown[:, 1:].mean(axis=1), counts[:, 1:].mean(axis=1)
fell = ["–", *(f"{share:.0%}" for share in (counts[1:, 1:] < counts[:-1, 1:]).mean(axis=1))]
print(f"atoms   {ITEM}   mean of {len(rows) - 1:,} items   fewer than in the line above")
for k, one, mean, share in zip(steps, counts[:, 0], mean_counts, fell, strict=True):
    print(f"{k:>5}   {one:>{len(ITEM)}}   {mean:>21.1f}   {share:>28}")
drawings.atoms_kept(steps, ITEM, (shown[:, 0], mean_cosines), (counts[:, 0], mean_counts))

# %% [markdown]
# ![Left: the cosine of alarm clock rises from 0.45 with one atom to 0.91 with 32; the mean of 1,003 items rises likewise. Right: of the ten neighbours, the mean number found rises from 3.1 to 8.0; for alarm clock it is 5, 3, 7, 6, 8 and 8](pictures/1_atoms.png)
#
# One atom finds clocks. With two, *clock* and *sleep*, the item finds itself, but fewer of the other clocks: half of x̂ is now about
# sleep. The cosine still rises. In this our item is an exception: from one atom to two, the mean rises from 3.1 to 4.4, and only 12 % of
# the items lose neighbours. So more atoms are better on average, and not for each item: in every step 9 to 14 % of them lose some.
#
# After eight atoms the cosine rises slowly. This is the trade: 32 entries take 256 bytes, and the embedding takes 1,536.
#
# ## All 32 latents
#
# Read down the list and mark what you understand. The values become small, and so does the sense.

# %%
for t in order:
    print(f"latent {indices[t]}, value {values[t]:+.1f}")
    for side, sign in (("+", 1), ("−", -1)):
        print(f"  {side}  {', '.join(strongest(indices[t], sign))}")

# %% [markdown]
# Did you notice latents 1821 (*auto-*), 1518 (*counter-*) and 1490 (*pre-*)? They stand for a spelling, not for a topic: the embedding
# model reads pieces of words, and something of them remains in its vectors.
#
# ## Exercises
#
# Fill in the functions of [exercises.py](exercises.py), and let the machine check them.
#
# - **Exercise 1**, `truncate`: the code for a smaller k (E6, R2). Mind equal magnitudes.
#   `compressae-ref verify --student my_solution.py --exercise 1`
# - **Exercise 2**, `name_latent`: choose the words that name a latent by c-TF-IDF: frequent in its items, rare elsewhere.
#   `compressae-ref verify --student my_solution.py --exercise 2`
# - Without grading: choose another `ITEM`. Which of its five strongest latents can you name?
#
# Next: [2 Forward by hand](2_forward_by_hand.md) computes a code on paper.
#
# ## What this does not show
#
# > *Alarm clock* was chosen because it reads well, and it was among the training data. Many items and most weak latents read worse.
# >
# > That a list of words looks like a topic is your reading, not a measurement. Another seed trains other latents, with other numbers.
# >
# > Nothing here says that a latent *causes* anything. It is a good direction for reconstruction, and nothing more.
# >
# > The lists of neighbours are those of one item, and the means are those of items that search for themselves. What codes cost for new
# > queries, and what other methods do better, is measured in
# > [chapter 5](5_search.md) and in [quality.md](../pages/quality.md).
