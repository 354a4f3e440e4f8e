# %% [markdown]
# # 5 Search
#
# Codes are stored to be searched: given a query, which items are near it? There are four ways to compare a query with a
# code. They are called *spaces*. This chapter draws them in two dimensions, then measures on real data what each one
# loses, and what plain methods (PCA and int8) lose in the same bytes.
#
# Equations: E10 (gather), E15, E16, E17 and E23 (the four spaces) of [the specification](../../spec/compressae.md),
# rules R4, R6 and R10.

# %%
import numpy as np

from compressae_ref import load_model, pack, recall_at, search, sparse_cosine
from compressae_ref import reference as ref
from compressae_ref.demo_data import load_demo_data
from compressae_ref.evaluation.baselines import Baseline, by_components, int8, principal_components
from compressae_ref.evaluation.quantisers import transform_coded
from compressae_ref.retrieval.brute_force import nearest_dense
from drawings import chapters_4_to_6 as drawings
from drawings.look import EXAMPLES

np.set_printoptions(precision=2, suppress=True)

# %% [markdown]
# ## One query, two items
#
# Two dimensions, five atoms, and one stored entry (k = 1). The encoder is the transpose of the decoder. The atoms 0 to 4
# are at 0°, 37°, 74°, 106° and 143°. The query is at 53°, item A at 67° and item B at 16°. So A is near, and B is far.
#
# > **Before you scroll on:** each row is stored as its best atom. Which atom does each of the three rows get? What is
# > the cosine of the codes of the query and of A?

# %%
W_dec = np.array([[1, 0], [0.8, 0.6], [0.28, 0.96], [-0.28, 0.96], [-0.8, 0.6]])
query = np.array([[0.6, 0.8]])
items = np.array([[5 / 13, 12 / 13], [0.96, 0.28]])  # A and B
code_q, code = (ref.encode_rows(x, W_dec.T, np.zeros(5), k=1) for x in (query, items))
print("latent of the query:", code_q[0].ravel(), " of A and B:", code[0].ravel())

scores = {
    "dense": ref.cosine(query, items)[None],
    "sparse (E15)": ref.sparse_cosine(code_q, code, h=5),
    "reconstructed (E16)": ref.reconstructed_cosine(code_q, code, W_dec),
    "asymmetric (E17)": ref.asymmetric_cosine(query, code, W_dec),
    "expanded, m = 2 (E23)": ref.expanded_cosine(query, code, W_dec, m=2),
}
for space, (of_items,) in scores.items():
    print(f"{space}: A {of_items[0]:.2f}, B {of_items[1]:.2f}")
drawings.spaces(query, code_q, code, W_dec, dict(list(scores.items())[1:]))

# %% [markdown]
# ![Four panels. Sparse: the bars of query, A and B are at three different latents. Reconstructed: three atoms as arrows, A and B at the same angle from the query. Asymmetric: the query itself lies beside A. Expanded: two bars of the query, one of them at the latent of A](pictures/5_spaces.png)
#
# - **Sparse** space compares the bars. The three rows have three latents, so both cosines are 0: the search cannot tell
#   A from B. It treats all atoms as if they were at right angles.
# - **Reconstructed** space knows the angles between atoms. But the query was replaced by its atom, and the atoms of A
#   and B are equally far from that one: 0.80 and 0.80.
# - **Asymmetric** space leaves the query dense. It is between the atoms 1 and 2, and A's atom is 2. Only the error of
#   the item is left.
# - **Expanded** space is for engines that accept only sparse queries. The query is written with the m atoms that are
#   nearest to it. Here A's atom is one of them, and B's is not.
#
# All four compute Σ_t u[jₜ] · vₜ over the k entries of the item (E10). They differ in the vector u that the query
# becomes, and in the norms. No space needs another code: the bytes are the same.

# %% [markdown]
# ## Turn the item
#
# Now turn an item away from the query, from 0° to 80°, and watch its score in each space.

# %%
angles = np.arange(0, 81)
turned = np.radians(np.degrees(np.arctan2(0.8, 0.6)) + angles)
turned = np.stack([np.cos(turned), np.sin(turned)], axis=1)
code = ref.encode_rows(turned, W_dec.T, np.zeros(5), k=1)
by_space = {
    "sparse": ref.sparse_cosine(code_q, code, 5)[0],
    "reconstructed": ref.reconstructed_cosine(code_q, code, W_dec)[0],
    "asymmetric": ref.asymmetric_cosine(query, code, W_dec)[0],
}
drawings.turn(angles, by_space, dense=turned @ query[0])

# %% [markdown]
# ![Scores against the angle. Dense: a smooth curve. Sparse: 1 up to 2 degrees, 0 from 3 degrees on. Reconstructed and asymmetric: stairs around the smooth curve, the asymmetric ones closer to it](pictures/5_turn.png)
#
# The query lies 2.2° from the border between two atoms. One step over the border, and the sparse cosine falls from 1 to
# 0. That is how sparse space loses neighbours: not because they are far, but because they are on the other side of a
# border. The asymmetric stairs stay nearer to the dense curve than the other two.

# %% [markdown]
# ## Real items
#
# 4,010 items and 500 queries from WordNet, and a model that was trained on 74,450 nouns (d = 384, h = 2,048; it is the
# one of [the browser example](../browser/README.md)). It is the model of chapter 1. There the codes had k = 32. Here they
# have k = 29, with which the model was trained: more entries would not fit into 48 bytes when they are packed.
#
# First look at pairs: each query with its 10 nearest items, and with 10 others.
#
# > **Before you scroll on:** 29 latents of 2,048. How many of them will two neighbours share?

# %%
model = load_model(EXAMPLES / "browser" / "data" / "model.npz")
data = load_demo_data()
codes, codes_q = (model.encode(x, backend="numpy") for x in (data.items, data.queries))
truth = nearest_dense(data.queries, data.items, 10).ids

x_unit, x_q = (ref.unit_rows(x, np.float32) for x in (data.items, data.queries))
dense, sparse = x_q @ x_unit.T, sparse_cosine(codes_q, codes, backend="numpy")
other = np.random.default_rng(0).integers(0, len(data.items), truth.shape)
pairs = np.repeat(np.arange(500), 20), np.concatenate([truth, other], axis=1).ravel()


def in_common(q, i):
    """Return how many latents two codes share, and their weight: the part of the squared values that is theirs."""
    _, *at = np.intersect1d(codes_q.indices[q], codes.indices[i], return_indices=True)
    squares = codes_q.values[q] ** 2, codes.values[i] ** 2
    parts = [square[a].sum() / square.sum() for square, a in zip(squares, at, strict=True)]
    return len(at[0]), np.sqrt(parts[0] * parts[1])  # the geometric mean of both codes


shared, weight = np.array([in_common(q, i) for q, i in zip(*pairs, strict=True)]).T
near = np.tile(np.arange(20) < 10, 500)
print(f"shared latents, of 29: {shared[near].mean():.0f} with a neighbour, {shared[~near].mean():.0f} with another")
below = sparse[pairs] < dense[pairs]
print(f"sparse cosine below the dense one: {below.mean():.0%} of all pairs, {below[near].mean():.0%} of neighbours")
half = np.abs(dense[pairs] - 0.5) < 0.02
low, high = np.quantile(sparse[pairs][half], (0.05, 0.95))
print(f"pairs with a dense cosine of 0.5: 90 % have a sparse cosine from {low:.2f} to {high:.2f}. Of its variance,")
for text, cause in (("how many latents are shared", shared), ("the weight of these latents", weight)):
    print(f"  {text} explains {np.corrcoef(cause[half], sparse[pairs][half])[0, 1] ** 2:.0%}")
some = np.random.default_rng(1).permutation(len(shared))[:4000]
drawings.pairs(dense[pairs][some], sparse[pairs][some], shared[some])

# %% [markdown]
# ![Sparse cosine against dense cosine of 4,000 pairs, coloured by shared latents: a wide band that rises from 0 to 1](pictures/5_pairs.png)
#
# Six of 29: two neighbours disagree about most of their atoms, although each is well described by its own. So most
# points lie below the line: the sparse cosine is smaller than the dense one, for 97 of 100 neighbours. That alone would
# do no harm, since a search needs only the order. But the band is wide: pairs with the same dense cosine get very
# different scores.
#
# Is it because some share more latents than others? Hardly: the number of shared latents explains 9 % of the variance.
# It matters *which* latents are shared, the strong or the weak ones. The weight of the shared latents is the part of
# the squared values that stands in them (the geometric mean over both codes). It explains 90 %, and the sparse cosine is
# never above it: that is the Cauchy-Schwarz inequality. A pair that shares three strong latents can score more than one
# that shares eight weak ones. And what two rows have in common in *different* atoms, at small angles, counts nothing
# here. So the order is lost in part.

# %% [markdown]
# In words, for one query:


# %%
def of_codes(space, stored=codes, queries=data.queries, **options):
    """Return the ids of the 10 best items for each query."""
    return search(queries, stored, 10, space=space, model=model, backend="numpy", **options).ids


def words(ids):
    return ", ".join(data.item_names[i].split(" (")[0].split(", ")[0] for i in ids)


row = next(row for row, name in enumerate(data.query_names) if name.startswith("raccoon"))
raccoon = data.queries[row : row + 1]
print("dense:     ", words(truth[row, :5]))
print("asymmetric:", words(of_codes("asymmetric", queries=raccoon)[0, :5]))
print("sparse:    ", words(of_codes("sparse", queries=raccoon)[0, :5]))

# %% [markdown]
# ## What is lost, and in how many bytes
#
# recall@10 is the share of the 10 nearest dense items that a search returns among its first 10. Beside the four spaces
# stand three other ways to store an item: int8 (each of the 384 numbers in one byte), PCA (the 58 largest components as
# float32, as many bytes as a code) and PCA with few bits (many components, the largest in more bits; the field calls it
# transform coding).
#
# > **Before you scroll on:** order them. Where do you expect PCA?

# %%
packed = pack(codes, bits=5)
components = principal_components(x_unit)
others = {
    "int8": int8(x_unit),
    "PCA": by_components("PCA", x_unit, components[: 29 * 8 // 4]),
    "PCA with few bits": Baseline("PCA", *transform_coded(x_unit, components, packed.bytes_per_item)),
}
found = {
    "codes, sparse": (232, of_codes("sparse")),
    "codes, sparse, query of 4k entries": (232, of_codes("sparse", query_k=4 * 29)),
    "codes, reconstructed": (232, of_codes("reconstructed")),
    "codes, expanded, m = 8k": (232, of_codes("expanded", query_k=8 * 29)),
    "codes, asymmetric": (232, of_codes("asymmetric")),
    "packed codes, asymmetric": (packed.bytes_per_item, of_codes("asymmetric", packed)),
} | {name: (other.bytes_per_item, other.search(x_q, 10)) for name, other in others.items()}
print("bytes  recall@10  (dense float32 vectors: 1,536 bytes)")
for name, (size, ids) in found.items():
    print(f"{size:5}  {recall_at(ids, truth):9.2f}  {name}")
drawings.recalls({name: (size, recall_at(ids, truth)) for name, (size, ids) in found.items()})

# %% [markdown]
# ![Recall against bytes. int8 at 384 bytes: 1.00. Codes at 232 bytes: from 0.64 in sparse space to 0.78 in asymmetric space, PCA among them at 0.68. At 48 bytes: packed codes 0.77, PCA with few bits 0.84](pictures/5_recall.png)
#
# Read it honestly:
#
# - If a quarter of the float32 bytes is acceptable, **int8 wins**. It loses nothing that two digits can show, and all
#   that it learns is a scale for each dimension.
# - **PCA** as float32 beats codes with sparse queries of k entries (0.68 against 0.64). It is level with sparse queries
#   of 4k entries (0.69), and loses to reconstructed and expanded queries (0.70 and 0.74) and to dense ones (0.78).
#   The table on [the front page](../../README.md#what-compression-costs) has sparse queries of 4k = 128 entries, and
#   PCA farther below them: these are other data (Debian packages), k = 32 of 4,096 latents, and recall@100.
# - **PCA with few bits beats packed codes** of the same bytes on these data, 0.84 against 0.77. Codes have higher
#   recall when they are *refined*: their latents are chosen one after the other, and their values fitted. This takes longer
#   than a chapter may. [quality.md](../pages/quality.md) measures it, on three data sets and with more methods. The
#   order changes with data and bytes there.
# - What PCA and int8 do not give is sparsity. A code is a list of a few latents, which an engine for sparse vectors can
#   index, and which have a meaning (chapter 1). If neither matters to you, a quantiser may be the better choice.
#
# And two things about codes. The same bytes give 0.64 or 0.78: the space decides. And a query's code is not stored, so
# it can be longer without more bytes: 4k entries give 0.69. A longer query has more latents to share.

# %% [markdown]
# ## Ties
#
# A sparse score is exactly 0 for every item that shares no latent with the query. So ties are not rare. R10 says what
# then happens: equal scores are ordered by ascending id.
#
# > **Before you scroll on:** cut the codes to their largest entry (k = 1). Which scores are then possible at all?

# %%
first, first_q = codes.truncate(1), codes_q.truncate(1)
cosines = sparse_cosine(first_q, first, backend="numpy")
zeros = [(scores == 0).sum(axis=1).mean() for scores in (sparse, cosines)]
print(f"items that score exactly 0, of 4,010: k = 29: {zeros[0]:,.0f}, k = 1: {zeros[1]:,.0f}")
row = next(row for row, name in enumerate(data.query_names) if name.startswith("bald eagle"))
possible, counts = np.unique(cosines[row], return_counts=True)
print("k = 1, bald eagle: scores", possible, "in", counts, "items")
best = ref.best(cosines[row : row + 1], 5)[0]
print("first five:", best, words(best))

# %% [markdown]
# With one entry a cosine can only be −1, 0 or 1. More than a hundred items have the same latent with the same sign as
# *bald eagle*, so they all score 1, and the five with the lowest ids come first, eagles or not. This is a bad search.
# But it is the *same* bad search everywhere: an engine that returns another five has another rule for ties, and a test
# that compares ids finds out. Exercise 13 is about this rule.

# %% [markdown]
# ## Exercises
#
# Fill in the functions of [exercises.py](exercises.py), and let the machine check them.
#
# - **Exercise 13**, `search_sparse` (E15, R10): with ties.
#   `compressae-ref verify --student my_solution.py --exercise 13`
# - **Exercise 14**, `search_asymmetric` (E17).
#   `compressae-ref verify --student my_solution.py --exercise 14`
# - **Exercise 15**, `gather` (E10), as a kernel in Numba.
#   `compressae-ref verify --student my_solution.py --exercise 15`
# - In this chapter: move A in the first picture until all four spaces rank it before B. Between which angles may it be?
#
# <details><summary>Answer to the last one</summary>
#
# Between 18.4° and 55.3°. Sparse space is the strictest one: it scores 0 unless A gets the query's own atom, which is
# atom 1 at 36.9°. Its neighbours are at 0° and 73.7°, and the borders are half-way. Try `items[0] = 0.64, 0.77`, which is
# at 50°: A then has 1.00 in sparse and in reconstructed space, and 0.96 in the two others, and B has 0.00, 0.80, 0.60
# and 0.00.
#
# </details>

# %% [markdown]
# ## What this does not show
#
# > - One data set, one model and 500 queries. The model has seen some of the items in its training, and PCA was
# >   fitted to the items themselves.
# > - The model was trained for dense queries. One that is trained for sparse queries (`--serve both`) does better in
# >   sparse space, and so do fitted codes: [quality.md](../pages/quality.md).
# > - recall@10 counts dense neighbours. Whether they are what a user wants is another question; nDCG in quality.md is
# >   nearer to it.
# > - Nothing here says how fast a search is, or how much memory an index takes:
# >   [performance.md](../pages/performance.md).
# > - Product quantisers (PQ, OPQ, RaBitQ and others) are missing here, because they need faiss. quality.md has them.
