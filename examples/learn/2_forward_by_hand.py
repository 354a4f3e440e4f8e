# %% [markdown]
# # 2 Forward by hand
#
# Two rows, three latents, one stored entry per row: small enough for paper. First compute each number yourself. Then compare it with
# the line of [reference.py](../../compressae_ref/reference.py) that computes it.
#
# Equations: E3 to E7, E9 and E13 of [the specification](../../spec/compressae.md), rules R1, R2 and R5.

# %%
import numpy as np

from compressae_ref import reference as ref
from drawings import chapters_1_to_3 as drawings

np.set_printoptions(precision=4, suppress=True)

x = np.array([[3.0, 4.0], [4.0, -3.0]])  # n = 2 rows, d = 2
W_enc = np.array([[1.0, 0.0, -1.0], [0.0, 1.0, -0.5]])  # (d, h): a column for each of h = 3 latents
b_enc = np.array([0.0, 0.2, 0.0])  # (h,)
W_dec = np.array([[1.0, 0.0], [0.0, 1.0], [-0.8, -0.6]])  # (h, d): a row for each latent, its atom, of norm 1
k = 1

# %% [markdown]
# ## Unit rows (E3)
#
# Only the direction of an embedding matters, so each row is divided by its norm: x̄ᵢ = xᵢ / ‖xᵢ‖.
#
#     ‖x₀‖ = √(3² + 4²) = 5          x̄₀ = (3/5, 4/5)  = (0.6,  0.8)
#     ‖x₁‖ = √(4² + 3²) = 5          x̄₁ = (4/5, −3/5) = (0.8, −0.6)

# %%
x_unit = ref.unit_rows(x, x.dtype)
print(x_unit)

# %% [markdown]
# ## Pre-activations (E4)
#
# Each latent looks at the row through its own column of `W_enc`: a dot product, plus a bias. aᵢ = x̄ᵢ W_enc + b_enc.
#
#     row 0:  a = ( 1 · 0.6 + 0 · 0.8,    0 · 0.6 + 1 · 0.8 + 0.2,   −1 · 0.6 − 0.5 · 0.8)   = (0.6,  1.0, −1.0)
#     row 1:  a = ( 1 · 0.8 − 0 · 0.6,    0 · 0.8 − 1 · 0.6 + 0.2,   −1 · 0.8 + 0.5 · 0.6)   = (0.8, −0.4, −0.5)

# %%
pre = ref.pre_activations(x_unit, W_enc, b_enc)
print(pre)

# %% [markdown]
# > **Before you scroll on:** k = 1 entry is stored per row. Which latent would you keep for row 0? And for row 1?
#
# ## Selection (E5, R1)
#
# The k largest **magnitudes** |a| are kept. For row 1 that is latent 0, with 0.8. For row 0 there is a tie: |1.0| and |−1.0|. R1 decides:
# among equal magnitudes, the lower index is kept. That is latent 1.

# %%
indices, values = ref.abs_topk(pre, k)
print("indices", indices.tolist(), "  values", values.tolist())

# %% [markdown]
# A code is what is stored: an index and a value, k times. With k above 1, entries are stored by ascending index (R2).
#
# ## Reconstruction (E7)
#
# Each stored value is multiplied by its atom, and the products are added: x̂ᵢ = Σ_t v[i, t] · W_dec[j[i, t]]. With k = 1 there is one
# product.
#
#     row 0:  x̂ = 1.0 · (0, 1) = (0,   1)
#     row 1:  x̂ = 0.8 · (1, 0) = (0.8, 0)

# %%
x_hat = ref.decode(indices, values, W_dec)
print(x_hat)

# %%
drawings.network(x_unit, pre, x_hat, W_enc, b_enc, W_dec)

# %% [markdown]
# ![A network of two inputs, three latents and two outputs, drawn for each row; only the path through the kept latent is coloured](pictures/2_network.png)
#
# The numbers on the lines are weights; a line without a number has weight 0. Row 0 goes through latent 1, and row 1 through latent 0.
# Everything else was computed and thrown away.
#
# ## How good is it? (E9)
#
# The cosine of a row with its reconstruction: cᵢ = ⟨x̄ᵢ, x̂ᵢ⟩ / (‖x̄ᵢ‖ ‖x̂ᵢ‖).
#
#     row 0:  c = (0.6 · 0   + 0.8 · 1) / (1 · 1)   = 0.8
#     row 1:  c = (0.8 · 0.8 − 0.6 · 0) / (1 · 0.8) = 0.64 / 0.8 = 0.8

# %%
cosines = ref.cosine(x_unit, x_hat)
print(cosines)

# %% [markdown]
# ### What the tie has cost
#
# In row 0, latent 2 had the same magnitude. What if it had been kept?
#
#     x̂ = −1.0 · (−0.8, −0.6) = (0.8, 0.6)        c = 0.6 · 0.8 + 0.8 · 0.6 = 0.96
#
# It would have been better. The selection cannot know: it looks at `pre` alone, and not at the atoms. R1 does not make good codes. It
# makes *equal* codes: two programs that follow it agree, even where two magnitudes are the same.

# %%
other = ref.decode(np.array([[2]]), pre[:1, [2]], W_dec)
print(other, ref.cosine(x_unit[:1], other))

# %%
drawings.geometry(x_unit, x_hat, W_dec, other[0])

# %% [markdown]
# ![In the plane: two rows as black arrows, three atoms as dashed lines through the origin, and the reconstructions as coloured arrows](pictures/2_geometry.png)
#
# The dashed lines run through the origin in *both* directions, because a value can be negative.
#
# ## Why |a|, and not ReLU?
#
# Many sparse autoencoders keep positive values only: max(a, 0), called ReLU. Then each atom serves one direction. In row 0, the best latent
# has a = −1.0, and ReLU would hide it. With |a| each atom serves two directions, so 2,048 atoms point in 4,096 directions. Chapter 1 showed the
# price: the two ends of a latent may mean unrelated things.
#
# ## Why the cosine, and not the squared error?
#
# Search compares directions: a result is scored by its cosine with the query, and lengths are divided out. The squared error
# ‖x̄ − x̂‖² also punishes a wrong length. Make x̂ of row 1 shorter, and nothing changes for search:

# %%
for length in (1.0, 0.8, 0.1):
    shorter = length * x_hat[[1]] / ref.norm(x_hat[[1]])
    error = ref.dot(x_unit[[1]] - shorter, x_unit[[1]] - shorter)
    print(f"length {length}  cosine {ref.cosine(x_unit[[1]], shorter)[0]:.2f}  squared error {error[0]:.2f}")

# %% [markdown]
# With the cosine as its loss, the model spends nothing on lengths. (At the best length the squared error is 1 − c² = 0.36, so both losses
# prefer the same direction.)
#
# ## The loss (E13)
#
# loss_k is the mean of 1 − c: here 0.2. In training there is a second reconstruction, from k_aux = min(4k, h) entries (R5). Here
# k_aux = 3, so it uses all latents. It reaches latents that lost the selection, and [chapter 4](4_train.md) shows what for. Its loss,
# loss_aux, is added with the weight ⅛. So it helps, and the loss of the stored entries decides. The entries after the first k are
# *the rest* (E6).
#
#     row 0:  the rest:   0.6 · (1, 0) − 1.0 · (−0.8, −0.6)  = (1.4,  0.6)
#     row 1:  the rest:  −0.4 · (0, 1) − 0.5 · (−0.8, −0.6)  = (0.4, −0.1)
#
#     row 0:  x̂_aux = (0,   1) + (1.4,  0.6) = (1.4,  1.6)
#     row 1:  x̂_aux = (0.8, 0) + (0.4, −0.1) = (1.2, −0.1)
#
#     row 0:  c_aux = (0.6 · 1.4 + 0.8 · 1.6) / √(1.4² + 1.6²) = 2.12 / √4.52 = 0.997
#     row 1:  c_aux = (0.8 · 1.2 + 0.6 · 0.1) / √(1.2² + 0.1²) = 1.02 / √1.45 = 0.847

# %%
k_aux = min(4 * k, len(b_enc))
code_k, code_rest = ref.split_code(*ref.abs_topk(pre, k_aux), k)
x_hat_aux = ref.decode(*code_k, W_dec) + ref.decode(*code_rest, W_dec)
print(x_hat_aux, ref.cosine(x_unit, x_hat_aux).round(3))

# %% [markdown]
# Now the means over both rows, and the loss, in which loss_aux counts an eighth:
#
#     loss_k   = (0.2 + 0.2) / 2     = 0.2
#     loss_aux = (0.003 + 0.153) / 2 = 0.078
#     loss     = loss_k + loss_aux / 8 = 0.210
#
# One function of the reference computes them all. It also returns the gradients: they are [chapter 3](3_backward_by_hand.md).

# %%
losses, gradients = ref.loss_and_gradients(x, W_enc, b_enc, W_dec, k)
print([round(float(loss), 3) for loss in losses])

# %% [markdown]
# ## Exercises
#
# Fill in the functions of [exercises.py](exercises.py), and let the machine check them.
#
# - **Exercise 3**, `unit_rows` (E3): what happens to a row of numbers near 1e-30, whose squares vanish in float32?
#   `compressae-ref verify --student my_solution.py --exercise 3`
# - **Exercise 4**, `abs_topk` (E5, R1, R2): the tie of this page is among the tests.
#   `compressae-ref verify --student my_solution.py --exercise 4`
# - **Exercise 5**, `decode` (E7).
#   `compressae-ref verify --student my_solution.py --exercise 5`
# - On paper: set the bias of latent 1 to 0 instead of 0.2. Which latent does row 0 store now, and what is its cosine? What are loss_k,
#   loss_aux and the whole loss?
#
# <details><summary>Answers</summary>
#
# **Exercise 3.** The square of 1e-30 is 1e-60, and the smallest positive float32 is about 1e-45. So all squares are 0, the norm is 0, and
# the row is divided by 0. The reference first multiplies the row by a power of two. This is exact and does not change the direction.
#
# **On paper.** Row 0 has a = (0.6, 0.8, −1.0) and stores latent 2 with −1.0, so x̂ = (0.8, 0.6) and c = 0.96. Row 1 has
# a = (0.8, −0.6, −0.5). It still stores latent 0, and its cosine is still 0.8.
#
#     loss_k   = (0.04 + 0.2) / 2 = 0.12
#
#     row 0:  x̂_aux = (0.8, 0.6) + 0.6 · (1, 0) + 0.8 · (0, 1) = (1.4, 1.4)
#     row 1:  x̂_aux = (0.8, 0) − 0.6 · (0, 1) − 0.5 · (−0.8, −0.6) = (1.2, −0.3)
#
#     row 0:  c_aux = (0.6 · 1.4 + 0.8 · 1.4) / √3.92 = 0.990
#     row 1:  c_aux = (0.8 · 1.2 + 0.6 · 0.3) / √1.53 = 0.922
#
#     loss_aux = (0.010 + 0.078) / 2 = 0.044
#     loss     = 0.12 + 0.044 / 8    = 0.126
#
# A smaller bias made the loss smaller, because the tie is gone and the better latent wins.
#
# </details>
#
# ## What this does not show
#
# > In the plane, three atoms are many: every direction is within 45° of one of them. In 384 dimensions, thousands are few.
# >
# > These weights were chosen, not trained. An encoder's column and its atom are nearly parallel here; in trained models they are less so
# > ([chapter 4](4_train.md) prints 0.82).
# >
# > An exact tie is rare between trained float32 numbers. It is common in tests and with small integers.
# >
# > The reason given for |a| is geometry. Whether it beats ReLU on your data is a question for a measurement.
