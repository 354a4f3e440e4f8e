# %% [markdown]
# # 6 Why bits differ
#
# Two programs compute the same formula from the same numbers, and the last digits differ. Usually nobody cares. Here a
# last digit can decide which latent is stored, and then the code differs, its digest, and the result of a search. This
# chapter shows where the bits go, which rules bring them back, and how a test checks it.
#
# Equations: E1 and E2 (sums in a stated order) and E5 of [the specification](../../spec/compressae.md), rules R1, R2,
# R3 and R10.

# %%
import numpy as np

import compressae_ref as csae
from compressae_ref import reference as ref
from compressae_ref.demo_data import load_demo_data
from compressae_ref.verify.judge import judge
from compressae_ref.verify.suite import Suite
from compressae_ref.verify.vectors import default_folder, load_file
from drawings import chapters_4_to_6 as drawings
from drawings.look import EXAMPLES

np.set_printoptions(linewidth=118)

# %% [markdown]
# ## One sum, three orders
#
# A float32 has 24 binary digits, which is about 7 decimal ones. Every addition rounds to them. So (a + b) + c and a +
# (b + c) may differ.
#
# Here are three orders in which programs add. A loop adds from left to right. A vector unit keeps several running sums,
# one in each *lane*, and adds them at the end. This package folds: it adds the second half onto the first, while more
# than 16 terms are left and their number is even. Then it adds what is left from left to right (E1). So 16 terms or fewer
# are not folded at all.


# %%
def left_to_right(terms):
    total = terms[..., 0].copy()
    for c in range(1, terms.shape[-1]):
        total += terms[..., c]
    return total


def in_lanes(terms, lanes=8):
    """Add every eighth term in one running sum, and then the eight sums."""
    sums = terms[..., :lanes].copy()
    for c in range(lanes, terms.shape[-1], lanes):
        sums += terms[..., c : c + lanes]
    return left_to_right(sums)


drawings.orders()

# %% [markdown]
# ![Three trees of additions. Over eight numbers: a chain from left to right, and two lanes that are added at the end. Over 32 numbers, the fold: number 16 is added to number 0, 17 to 1 and so on, and a chain adds the 16 sums from left to right](pictures/6_orders.png)
#
# The first two pictures have eight numbers, to be readable. The fold needs more than 16, so it has 32.
#
# Take 32 numbers: 100,000,000 at the places 0 and 1, −100,000,000 at the places 16 and 17, and 1 everywhere else. Their
# sum is 28. Near 100,000,000 the next float32 is 8 away. So 100,000,000 + 1 is rounded back to 100,000,000: the 1 is
# lost.
#
# > **Before you scroll on:** the fold adds place 16 to place 0 first. Which of the three orders gives 28?

# %%
terms = np.ones(32, np.float32)
terms[[0, 1]], terms[[16, 17]] = 1e8, -1e8
ORDERS = {"left to right": left_to_right, "eight lanes": in_lanes, "fold (E1)": ref.fold_sum}
for name, add in ORDERS.items():
    print(f"{name}: {add(terms)}")

# %% [markdown]
# From left to right, the 14 ones at the places 2 to 15 are lost. In lanes two ones are lost, at the places 8 and 9:
# each comes after a large number in its lane. The fold adds 100,000,000 and −100,000,000 first, so it loses nothing.
#
# The numbers were chosen to be cruel, and the fold was lucky: with other places it would lose. No order is right for
# all numbers. But what about a normal dot product, of two unit rows with 384 numbers each? Differences are counted in
# *ulp*: one ulp is the distance from a number to the next float32.

# %%
data = load_demo_data()
items, queries = (ref.unit_rows(x, np.float32) for x in (data.items, data.queries))
products = items[:2000] * queries[0]
dots = {name: add(products) for name, add in ORDERS.items()}
print("one dot product:", *(f"{name}: {sums[4]!s}" for name, sums in dots.items()), sep="\n  ")
ulps = {name: (sums - dots["fold (E1)"]) / np.spacing(np.abs(dots["fold (E1)"])) for name, sums in dots.items()}
for name in ("left to right", "eight lanes"):
    same, far = np.mean(ulps[name] == 0), np.quantile(np.abs(ulps[name]), 0.9)
    print(f"{name} against fold: {same:.0%} of 2,000 have equal bits; one in ten differs by more than {far:.0f} ulp")
drawings.ulps(ulps)

# %% [markdown]
# ![Histogram of differences to the fold, in ulp, for sums from left to right and in lanes: both spread over about ten ulp to each side](pictures/6_ulp.png)
#
# The differences are tiny: most of the dots agree in six digits. But most are not equal. A library for matrix products
# (BLAS) chooses its order by the processor, the number of threads and the shape. So the same line of Python gives other
# bits on another machine, and nobody did anything wrong.
#
# ## A multiply-add that rounds once
#
# Processors have one more trick. A *fused* multiply-add computes a · b + c and rounds once, at the end. Two separate
# operations round twice. Many compilers use it without asking. float64 holds the exact product of two float32 numbers,
# so we can imitate it:

# %%
a = np.float32(1 + 2**-12)
c = -(a * a)
print("rounded twice:", a * a + c)
print("rounded once: ", np.float32(np.float64(a) * np.float64(a) + np.float64(c)), "= 2⁻²⁴")

# %% [markdown]
# c is the rounded product with a minus sign. Rounded twice, the sum is 0. The fused operation sees the part of the
# product that was rounded away. It is more exact, and it is other bits. So the specification says: a product is rounded
# before it is added.
#
# ## A last bit becomes another code
#
# Who cares about the seventh digit? Top-k does. It compares, and a comparison knows no "nearly". Look for the closest
# race: of 500 rows, and all k up to 64, where do the k-th and the next |a| nearly tie, so that the order of the sum
# decides?

# %%
model = csae.load_model(EXAMPLES / "browser" / "data" / "model.npz")
W_enc, b_enc = model.params.W_enc, model.params.b_enc
rough = np.abs(queries.astype(np.float64) @ W_enc.astype(np.float64) + b_enc)
ranked = np.argsort(-rough, axis=1)[:, :65]
gaps = -np.diff(np.take_along_axis(rough, ranked, axis=1), axis=1)
for row, place in zip(*np.unravel_index(np.argsort(gaps, axis=None)[:100], gaps.shape), strict=True):
    pair = ranked[row, place : place + 2]
    race = {name: np.abs(add(queries[row] * W_enc.T[pair]) + b_enc[pair]) for name, add in ORDERS.items()}
    if len({tuple(np.argsort(-magnitudes)) for magnitudes in race.values()}) > 1:
        break
k = int(place) + 1
print(f"the word '{data.query_names[row].split(' (')[0]}', k = {k}: which latent is the last to be stored?")
for name, magnitudes in race.items():
    print(f"  |a| of latent {pair[0]} and {pair[1]}, {name}: {magnitudes[0]!s}, {magnitudes[1]!s}")
drawings.race(race, pair)

# %% [markdown]
# ![Two |a| on a line of float32 numbers, for each order of the sum. From left to right the second latent is ahead; with the fold the first](pictures/6_race.png)
#
# For a plant's *seed* and k = 45, the race is open. The winner is stored, the loser is not. Does a user see it? Search
# the 4,010 items with both codes.

# %%
codes = model.encode(data.items, k=k, backend="numpy")
found = {}
for name, add in ORDERS.items():
    code = ref.abs_topk((add(queries[row] * W_enc.T) + b_enc)[None], k)
    scores = ref.sparse_cosine(code, (codes.indices, codes.values), h=2048)
    found[name] = ref.best(scores, 100)[0]
    cosine = ref.cosine(queries[row][None], ref.decode(*code, model.params.W_dec))[0]
    print(f"{name}, cosine {cosine:.4f}: stores {np.intersect1d(code[0], pair)}")
a, b = found["left to right"], found["fold (E1)"]
print(f"left to right against fold: of the first 100 items, {np.sum(a != b)} are at another rank")

# %% [markdown]
# Ten items of a hundred change places. No order is better for that: here the cosine of the code with 916 is a little
# higher, but top-k compares |a|, which is as good as equal, and does not see it. But two systems that should agree do
# not, and nobody who looks for the reason will find a bug. With a stated order (E1) there is nothing to look for. Both
# sums are the same, bit by bit, on every machine, and any difference *is* a bug. That is what a stated order buys: not
# better numbers, but numbers that can be compared with `==`.
#
# ## Three rules for comparisons
#
# A stated order makes the numbers equal. Three kinds of numbers still need a rule.
#
# > **Before you scroll on:** what should top-k keep of [2, −2, 2, 1] for k = 2? Where does NaN stand in a sorted list?
# > Are 0 and −0 equal?

# %%
tie = np.array([[2, -2, 2, 1]], np.float32)
print("R1, a tie:", ref.abs_topk(tie, 2)[0][0])
nan = np.float32("nan")
print("R3, NaN:  ", nan > 1, nan < 1, nan == nan, "max:", max([1, nan, 3]), max([nan, 1, 3]))
zeros = np.array([0.0, -0.0], np.float32)
print("R2, zeros:", zeros[0] == zeros[1], zeros[:1].tobytes() == zeros[1:].tobytes(), "stored as", zeros + 0)
try:
    model.encode(np.where(np.arange(384) == 7, nan, data.queries[:1]), backend="numpy")
except csae.DomainError as error:
    print("R3 again: ", error)

# %% [markdown]
# - **Ties** (R1, and R10 for items): the lower index wins. Three magnitudes are equal here, so 0 and 1 are kept. Any
#   other rule would do as well, but it has to be *one* rule.
# - **NaN** compares false with everything, itself included. So `max` returns 3 or NaN, depending on where NaN stands,
#   and Python's `sorted` leaves such a list half sorted. R3 refuses it, and names the row, before it can decide
#   anything.
# - **−0** equals 0, and its bytes are other ones. Two equal codes would have different digests. R2 stores +0: adding 0
#   does it.
#
# ## What a test vector is
#
# A rule is only as good as the test that fails without it. A *test vector* is a question with its answer, in a file.
# Another program, in any language, reads the question, computes, and compares. Here is the first one for top-k. The
# file stores arrays as hexadecimal bytes, so that no bit is lost on the way; `load_file` has read them.

# %%
folder = default_folder()  # spec/vectors in a clone
file = load_file(folder / "abs_topk.json")
test = file.tests[0]
print(test.id, "with k =", test.inputs["k"], "of", test.inputs["pre"])
print("in the file:", test.inputs["pre"].tobytes().hex())
print("answer:", test.outputs["indices"], test.outputs["values"], "catches:", test.flags)

# %% [markdown]
# Four magnitudes are 0.5, and there is place for two of them. Now a version of top-k with a mistake that many programs
# have: it sorts in ascending order, and takes the end of the list. `verdict` asks the judge of
# `compressae-ref verify` about what a function returned. If the test expects an error instead, it says so.
#
# > **Before you scroll on:** for most rows it is right. For which is it wrong?


# %%
def wrong_topk(pre, k):
    order = np.argsort(np.abs(pre), axis=1, kind="stable")
    indices = np.sort(order[:, -k:], axis=1)
    return indices, np.take_along_axis(pre, indices, axis=1) + 0


suite = Suite(folder, cases=1000)


def verdict(test, **outputs):
    """Judge an answer as ``compressae-ref verify`` does, and return what it says."""
    dtypes = {name: output.dtype for name, output in test.outputs.items()}  # empty if the test expects an error
    answer = {"outputs": {name: np.asarray(a, dtypes.get(name)) for name, a in outputs.items()}}
    judged = judge(test, answer)
    if judged.bit_exact:
        return f"{test.id}: passed: the same bits"
    words = [judged.reason, *suite.causes(test, answer, judged, bits=judged.passed)]
    return f"{test.id}: {'passed' if judged.passed else 'FAILED'}: " + "\n  ".join(words)


for test in (file.tests[0], file.tests[3]):
    indices, values = wrong_topk(**test.inputs)
    print(verdict(test, indices=indices, values=values))

# %% [markdown]
# It is wrong where the last place is tied: it then keeps the higher index. The second test has no such tie, and
# passes. The first fails. And the vector does more than fail: it knows the answers that common mistakes give, and
# this is one of them. `compressae-ref verify --program "python my_port.py" --only abs_topk-1` prints the same words
# for a program in any language.
#
# ## To the bit, and within the bounds
#
# Must every program fold? No. Look at a vector for unit rows. Its answer has a *bound*: the farthest that another order
# of sums can move a number. Three programs answer: one folds, one adds from left to right, and one forgets that a norm
# has a root.

# %%
test = load_file(folder / "normalize_rows.json").tests[4]
x = test.inputs["x"]
answers = {
    "folds": x / np.sqrt(ref.fold_sum(x * x))[:, None],
    "adds from left to right": x / np.sqrt(left_to_right(x * x))[:, None],
    "has no root": x / ref.fold_sum(x * x)[:, None],
}
for name, x_unit in answers.items():
    off = np.abs(x_unit - test.outputs["x_unit"]).max()
    print(f"{name}: off by up to {off:.1g}, bound {test.bounds['x_unit']}\n  {verdict(test, x_unit=x_unit)}")

# %% [markdown]
# - **To the bit**: equal with `==`. Only those who promise it are held to it (`verify --bits`), such as this package.
#   Then a digest can stand for a whole model, and one wrong bit is found.
# - **Within the bounds**: right, in another order. A GPU or a vector unit may do this. The bound is computed from the
#   number of additions, not guessed. In vectors with sums, the numbers that decide a selection are further apart than
#   rounding can move them. So a program that adds in another order passes, and one with a mistake does not.

# %% [markdown]
# ## Exercises
#
# Fill in the functions of [exercises.py](exercises.py), and let the machine check them.
#
# - **Exercise 16**, `fold_sum` (E1), to the bit.
#   `compressae-ref verify --student my_solution.py --exercise 16`
# - On paper: 32 numbers for which the sum from left to right is exact and the fold is not.
# - Change `wrong_topk` so that it follows R1, and keeps the sign of −0, which R2 forbids. Which of the first 15 tests of
#   `abs_topk` find it? The last two expect a DomainError for a bad k, which `wrong_topk` does not raise.
#
# <details><summary>Answers to the last two</summary>
#
# **On paper.** 100,000,000 at place 0, −100,000,000 at place 1, and 1 everywhere else. From left to right the large ones
# cancel first, and the sum is 30, which is exact. The fold adds place 16 to place 0 and place 17 to place 1. Both ones
# are lost, and the sum is 28.
#
# **−0.** Sort `-np.abs(pre)`, take `order[:, :k]`, and leave out `+ 0`:
#
# ```python
# def signed_zero(pre, k):
#     order = np.argsort(-np.abs(pre), axis=1, kind="stable")
#     indices = np.sort(order[:, :k], axis=1)
#     return indices, np.take_along_axis(pre, indices, axis=1)
#
#
# for test in file.tests[:15]:
#     indices, values = signed_zero(**test.inputs)
#     print(verdict(test, indices=indices, values=values))
# ```
#
# `abs_topk-8` and `abs_topk-9` fail: in these two, −0 is selected. All others pass with the same bits.
#
# </details>

# %% [markdown]
# ## What this does not show
#
# > - How often it matters. One close race in 500 rows and 64 values of k was searched for. With one k most data sets
# >   have few or none.
# > - Which order is the most accurate. Pairwise orders usually have smaller errors than a long chain, but nothing here
# >   measures that.
# > - What a stated order costs in time: [performance.md](../pages/performance.md).
# > - That all processors agree. Everything here relies on IEEE 754: each single operation is rounded in one stated way.
# >   Compilers with `-ffast-math`, and units that flush small numbers to zero, break this.
# > - Equal bits are not right answers. A wrong formula in a stated order is wrong everywhere, in the same bits.
