# %% [markdown]
# # 3 Backward by hand
#
# Training changes the weights so that the loss falls. For this it needs the gradient of the loss with respect to every weight. PyTorch
# derives gradients by itself. Here you derive them in six small steps, and write them as four short functions. Then you check them in three ways.
#
# You need partial derivatives, the chain rule, and the numbers of [chapter 2](2_forward_by_hand.md). The next cell repeats them.
#
# Equations: E4', E5', E7', E7'', E8, E9', E13' and E14 of [the specification](../../spec/compressae.md), rules R6 and R7.

# %%
import numpy as np

import torch_gradients
from compressae_ref import reference as ref
from drawings import chapters_1_to_3 as drawings

np.set_printoptions(precision=4, suppress=True)

batch = np.array([[3.0, 4.0], [4.0, -3.0]])
W_enc = np.array([[1.0, 0.0, -1.0], [0.0, 1.0, -0.5]])
b_enc = np.array([0.0, 0.2, 0.0])
W_dec = np.array([[1.0, 0.0], [0.0, 1.0], [-0.8, -0.6]])
k, n = 1, len(batch)

x_unit = ref.unit_rows(batch, batch.dtype)
code = ref.abs_topk(ref.pre_activations(x_unit, W_enc, b_enc), 3)
(indices_k, values_k), (indices_rest, values_rest) = ref.split_code(*code, k)
x_hat_k = ref.decode(indices_k, values_k, W_dec)
x_hat_aux = x_hat_k + ref.decode(indices_rest, values_rest, W_dec)

# %% [markdown]
# ## The graph
#
# Grey arrows are the forward pass of chapter 2. Orange arrows lead from the loss L back to the weights.

# %%
drawings.graph()

# %% [markdown]
# ![A graph from x̄ over a, the values, both reconstructions and both cosines to the loss, with an equation on each arrow and orange arrows in the other direction](pictures/3_graph.png)
#
# Two rules are enough for any such graph:
#
# 1. **Multiply along an arrow.** The gradient at its start is the gradient at its end, times the derivative of the end with
#    respect to the start.
# 2. **Add where arrows part.** If several arrows leave a node, its gradient is the sum of what they bring back.
#
# > **Before you scroll on:** find the nodes from which two grey arrows leave. There the gradient is a sum. How many are there?
#
# ## Step 1: from the loss to the cosines (E13)
#
# L = (1/n) Σ (1 − c_k) + (1/8n) Σ (1 − c_aux), each summed over the rows. The 8 is from the weight ⅛ of the auxiliary loss (E13). Each
# cosine stands there once:
#
#     ∂L/∂c_k = −1/n = −1/2          ∂L/∂c_aux = −1/(8n) = −1/16          (n = 2 rows)
#
# ## Step 2: the cosine (E9')
#
# Let p = ⟨x̄, x̂⟩, α = ‖x̄‖ and β = ‖x̂‖. Then c = p / (α β), and α does not depend on x̂.
#
# - p = Σ_m x̄_m x̂_m is linear in x̂, so ∂p/∂x̂ = x̄.
# - β² = Σ_m x̂_m². Differentiate both sides: 2β ∂β/∂x̂ = 2x̂. So ∂β/∂x̂ = x̂ / β.
# - The quotient rule:
#
#       ∂c/∂x̂ = (∂p/∂x̂ · αβ − p · α ∂β/∂x̂) / (αβ)²
#              = x̄ / (αβ) − p x̂ / (α β³)
#              = x̄ / (αβ) − c x̂ / β²
#
# With the numbers of chapter 2, where both cosines are 0.8:
#
#     row 0:  x̂ = (0, 1),   β = 1:      (0.6, 0.8)/1 − 0.8 · (0, 1)/1           = (0.6,  0)
#     row 1:  x̂ = (0.8, 0), β = 0.8:    (0.8, −0.6)/0.8 − 0.8 · (0.8, 0)/0.64   = (0, −0.75)
#
# Write it yourself before you read on: it is exercise 7. (`clamped_norm` is the norm, but at least 1e-8. The line with `where` is
# explained [below](#what-the-clamp-does).)


# %%
def cosine_backward(grad_c, x_unit, x_hat):
    """∂L/∂c → ∂L/∂x̂ (E9')."""
    norm_x, norm_hat = ref.clamped_norm(x_unit), ref.clamped_norm(x_hat)
    toward = grad_c / (norm_x * norm_hat)
    along = grad_c * ref.cosine(x_unit, x_hat) / (norm_hat * norm_hat)
    along = np.where(norm_hat > 1e-8, along, 0)
    return toward[:, None] * x_unit - along[:, None] * x_hat


slope_of_cosine = cosine_backward(np.ones(n), x_unit, x_hat_k)
print(slope_of_cosine)

# %%
drawings.tangents(x_unit, x_hat_k, slope_of_cosine)

# %% [markdown]
# ![Two unit circles; in each, the gradient starts at the end of the reconstruction and is perpendicular to it](pictures/3_tangents.png)
#
# The gradient is perpendicular to x̂: ⟨∂c/∂x̂, x̂⟩ = c − c = 0. It must be, because a longer x̂ has the same cosine. So the second term does
# one thing: it removes from x̄ the part that would only make x̂ longer.
#
# ## Step 3: two losses, one reconstruction (E13')
#
# Here is the first of the three nodes of the question. x̂_k is compared with x̄, and it is also a term of x̂_aux = x̂_k + x̂_rest. The
# derivative of this sum with respect to x̂_k is the identity, and so is that with respect to x̂_rest. By rule 2:
#
#     ∂L/∂x̂_aux  = −1/(8n) · ∂c_aux/∂x̂_aux            this is also ∂L/∂x̂_rest
#     ∂L/∂x̂_k    = −1/n · ∂c_k/∂x̂_k + ∂L/∂x̂_aux
#
# With the numbers of chapter 2:
#
#     ∂L/∂x̂_aux   row 0:  −1/16 · ((0.6,  0.8)/2.126 − 0.997 · (1.4,  1.6)/4.52)  = (0.0017, −0.0015)
#                 row 1:  −1/16 · ((0.8, −0.6)/1.204 − 0.847 · (1.2, −0.1)/1.45)  = (0.0023,  0.0275)
#     ∂L/∂x̂_k     row 0:  −1/2 · (0.6,  0)   + (0.0017, −0.0015)  = (−0.2983, −0.0015)
#                 row 1:  −1/2 · (0, −0.75)  + (0.0023,  0.0275)  = ( 0.0023,  0.4025)

# %%
grad_x_hat_aux = cosine_backward(np.full(n, -1 / (8 * n)), x_unit, x_hat_aux)
grad_x_hat_k = cosine_backward(np.full(n, -1 / n), x_unit, x_hat_k) + grad_x_hat_aux
print(grad_x_hat_aux)
print(grad_x_hat_k)

# %% [markdown]
# ## Step 4: the decoder (E7', E7'')
#
# Let g = ∂L/∂x̂. One number of the reconstruction is x̂_m = Σ_t v_t W[j_t, m]: each value times a number of its atom.
#
# - Values: ∂x̂_m/∂v_t = W[j_t, m], so ∂L/∂v_t = Σ_m g_m W[j_t, m] = **⟨g, atom⟩**.
# - Atoms: ∂x̂_m/∂W[j, m] = v_t if latent j is stored as entry t, and 0 otherwise. So ∂L/∂W[j] = **v_t · g**.
#
# `W_dec` is the second node of the question: it decodes both codes of every row. So an atom gets a sum over all rows that have it in
# one of both codes, the k entries or the rest (E8). An atom that is in none gets zero.
#
#     row 0 stores latent 1 with 1.0:   ∂L/∂v = ⟨(−0.2983, −0.0015), (0, 1)⟩ = −0.0015      ∂L/∂atom 1 = 1.0 · (−0.2983, −0.0015)
#
# Note how small ∂L/∂v is. With k = 1, x̂ is parallel to its atom, and g of the first loss is perpendicular to both. Only the auxiliary
# loss is left. Now write it: exercise 8.


# %%
def decode_backward(grad_x_hat, indices, values, W_dec):
    """∂L/∂x̂ → ∂L/∂v (E7') and ∂L/∂W_dec (E7'')."""
    grad_values = ref.dot(grad_x_hat[:, None, :], W_dec[indices])
    grad_W_dec = np.zeros_like(W_dec)
    for i in range(len(indices)):
        for t in range(indices.shape[1]):
            grad_W_dec[indices[i, t]] += values[i, t] * grad_x_hat[i]
    return grad_values, grad_W_dec


grad_values, grad_atoms = decode_backward(grad_x_hat_k, indices_k, values_k, W_dec)
print(grad_values.T)
print(grad_atoms)

# %% [markdown]
# ## Step 5: the selection (E5')
#
# A stored value *is* a pre-activation: v_t = a_j. The selection is a switch. It is on for the k_aux latents that were selected, with
# derivative 1. It is off for all others, with derivative 0 (R7). A negative a passes as it is: the selection compares |a|, and
# stores a. (a is the third node of the question, but no latent goes both ways, so nothing has to be added.)
#
# ## Step 6: the encoder (E4')
#
# a_j = Σ_m x̄_m W_enc[m, j] + b_j gives ∂a_j/∂W_enc[m, j] = x̄_m and ∂a_j/∂b_j = 1. So
#
#     ∂L/∂W_enc[m, j] = x̄_m · ∂L/∂a_j          ∂L/∂b_j = ∂L/∂a_j
#
# All products x̄_m · ∂L/∂a_j together are an *outer product*: a column times a row. Rows of the batch are added. For latent 1, for
# example, ∂L/∂a is −0.0015 in row 0 and 0.0275 in row 1, where it belongs to the rest:
#
#     column 1 of ∂L/∂W_enc = −0.0015 · (0.6, 0.8) + 0.0275 · (0.8, −0.6) = (0.0211, −0.0177)


# %%
def encode_backward(grad_values, indices, x_unit, h):
    """∂L/∂v → ∂L/∂a (E5') → ∂L/∂W_enc and ∂L/∂b_enc (E4')."""
    grad_pre = np.zeros((len(indices), h))
    np.put_along_axis(grad_pre, indices, grad_values, axis=1)
    grad_W_enc, grad_b_enc = np.zeros((x_unit.shape[1], h)), np.zeros(h)
    for i in range(len(indices)):
        grad_W_enc += np.outer(x_unit[i], grad_pre[i])
        grad_b_enc += grad_pre[i]
    return grad_W_enc, grad_b_enc


# %% [markdown]
# ## All of it
#
# Forward, then the same way back. Both codes, the k entries and the rest, go through the same two functions, and rule 2 adds them.


# %%
def gradients(batch, W_enc, b_enc, W_dec, k, cosine_backward=cosine_backward):
    """The gradients of the loss by name (E13')."""
    n, h = len(batch), len(b_enc)
    x_unit = ref.unit_rows(batch, batch.dtype)
    code = ref.abs_topk(ref.pre_activations(x_unit, W_enc, b_enc), min(4 * k, h))
    code_k, code_rest = ref.split_code(*code, k)
    x_hat_k = ref.decode(*code_k, W_dec)
    x_hat_aux = x_hat_k + ref.decode(*code_rest, W_dec)

    grad_x_hat_aux = cosine_backward(np.full(n, -1 / (8 * n)), x_unit, x_hat_aux)
    grad_x_hat_k = cosine_backward(np.full(n, -1 / n), x_unit, x_hat_k) + grad_x_hat_aux
    grad_values_k, grad_W_dec_k = decode_backward(grad_x_hat_k, *code_k, W_dec)
    grad_values_rest, grad_W_dec_rest = decode_backward(grad_x_hat_aux, *code_rest, W_dec)
    grad_W_enc_k, grad_b_enc_k = encode_backward(grad_values_k, code_k[0], x_unit, h)
    grad_W_enc_rest, grad_b_enc_rest = encode_backward(grad_values_rest, code_rest[0], x_unit, h)
    return {
        "x_hat_k": grad_x_hat_k, "x_hat_aux": grad_x_hat_aux, "values_k": grad_values_k, "values_rest": grad_values_rest,
        "W_enc": grad_W_enc_k + grad_W_enc_rest, "b_enc": grad_b_enc_k + grad_b_enc_rest, "W_dec": grad_W_dec_k + grad_W_dec_rest,
    }  # fmt: skip


for name, gradient in gradients(batch, W_enc, b_enc, W_dec, k).items():
    print(f"{name}\n{gradient}")

# %% [markdown]
# **Check 1, on paper:** you know the rows of `x_hat_k` and `x_hat_aux` and column 1 of `W_enc`. Compute one more number yourself, such as the
# gradient of atom 2. Both rows store it in their rest, with −1.0 and −0.5.
#
# <details><summary>Answer</summary>
#
# −1.0 · (0.0017, −0.0015) − 0.5 · (0.0023, 0.0275) = (−0.0028, −0.0123). It is the last row of `W_dec` above. These factors are rounded,
# so your last digit may differ by 1.
#
# </details>
#
# ## Check 2: finite differences
#
# A gradient is a claim about slopes. Take random weights, go a small step in a random direction, once forward and once back, and look at
# the loss: (L(w + s·r) − L(w − s·r)) / 2s. The gradient claims that this is Σ (gradient · r). The loss is computed by the reference, so
# that our own forward pass cannot hide a mistake.
#
# > **Before you scroll on:** a smaller step s should give a better slope. Down to 1e-12?

# %%
stored = torch_gradients.stored()  # a model with n = 3, d = 5, h = 12, k = 2, and its gradients by PyTorch
model, k = stored["model"], stored["k"]
rng = np.random.default_rng(0)
directions = {name: 2 * rng.random(model[name].shape) - 1 for name in ("W_enc", "b_enc", "W_dec")}


def loss(model):
    return ref.loss_and_gradients(**model, k=k)[0][0]


def measured_slope(name, size):
    """The central difference of the loss along the direction of one parameter."""
    high, low = (loss(model | {name: model[name] + s * directions[name]}) for s in (size, -size))
    return (high - low) / (2 * size)


def claimed_slope(name, found):
    return float(np.sum(found[name] * directions[name]))


ours = gradients(**model, k=k)
for name in directions:
    print(f"{name}  claimed {claimed_slope(name, ours):+.6f}  measured {measured_slope(name, 1e-5):+.6f}")

# %%
sizes = [1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12]
errors = {name: [abs(measured_slope(name, s) - claimed_slope(name, ours)) for s in sizes] for name in directions}
drawings.errors(sizes, errors)

# %% [markdown]
# ![Three curves in the shape of a V: the error of finite differences is smallest near a step of 1e-5 and grows to both sides](pictures/3_errors.png)
#
# No: both ends of the V are bad. A large step leaves the straight line: the error grows with s². For `b_enc` and s = 0.1 it is
# larger still, because another latent is selected. With a small step, the two losses differ in their last digits only, and rounding divided by s grows. In float64 the
# best step is near 1e-5, the cube root of the rounding unit 1e-16. In float32 it would be a few thousandths, and the check would be weak.
# So gradients are checked in float64.
#
# ## Check 3: autograd
#
# [torch_gradients.py](torch_gradients.py) computes the same loss with PyTorch, in twenty lines, and asks for its gradients. They are stored
# in [3_autograd.json](3_autograd.json), so you need no PyTorch. Finite differences check sums; this checks every number.

# %%
for name, expected in stored["gradients"].items():
    equal = np.all(np.abs(ours[name] - expected) < 1e-12)
    print(f"{name:<12} {expected.size:>3} numbers, differences below 1e-12: {equal}")

# %% [markdown]
# ## A wrong turn, on purpose
#
# Let us forget the second term of E9', as one easily does: “pull x̂ towards x̄, what else?”


# %%
def wrong_cosine_backward(grad_c, x_unit, x_hat):
    return (grad_c / (ref.clamped_norm(x_unit) * ref.clamped_norm(x_hat)))[:, None] * x_unit


wrong = gradients(**model, k=k, cosine_backward=wrong_cosine_backward)
for name in directions:
    print(f"{name}  claimed {claimed_slope(name, wrong):+.6f}  measured {measured_slope(name, 1e-5):+.6f}")

# %% [markdown]
# Finite differences see it at once. Does training see it? 300 steps on 32 random rows, with both gradients. A step is one of Adam, which
# divides each gradient by its usual size; after it the atoms get norm 1 again. Both are explained in
# [chapter 4](4_train.md#what-adam-does). `tied=False` means that encoder and decoder start from different random numbers.


# %%
def train(cosine_backward, steps=300, lr=0.003, k=2):
    """Train from the same start, and return the loss and the mean norm of x̂ of each step."""
    rng = np.random.default_rng(1)
    batch = 2 * rng.random((32, 8)) - 1
    params = ref.initial(rng.random((8, 24)), rng.random((24, 8)), tied=False)
    m, v = ([np.zeros_like(p) for p in params] for _ in range(2))
    losses, lengths = [], []
    for step in range(1, steps + 1):
        losses.append(ref.loss_and_gradients(batch, *params, k)[0][0])
        x_hat = ref.decode(*ref.encode_rows(batch, *params[:2], k), params[2])
        lengths.append(ref.norm(x_hat).mean())
        found = gradients(batch, *params, k, cosine_backward)
        for p, name, m_p, v_p in zip(params, ("W_enc", "b_enc", "W_dec"), m, v, strict=True):
            ref.adam(p, found[name], m_p, v_p, step, lr)
        ref.renormalize(params[2])
    return losses, lengths


curves = {name: train(function) for name, function in (("right", cosine_backward), ("wrong", wrong_cosine_backward))}
for name, (losses, lengths) in curves.items():
    print(
        f"{name}: loss {losses[0]:.2f} → {losses[-1]:.2f}, mean length of x̂ {lengths[0]:.1f} → {lengths[-1]:.1f}",
        end=", ",
    )
    print(f"longer in {np.sum(np.diff(lengths) > 0)} of {len(lengths) - 1} steps")

# %%
drawings.wrong_turn(*({name: curve[part] for name, curve in curves.items()} for part in (0, 1)))

# %% [markdown]
# ![Left: two falling loss curves, the wrong one ends higher. Right: with the wrong gradient the mean length of the reconstructions rises from 0.8 to 5.0](pictures/3_wrong_turn.png)
#
# **The loss falls with a wrong gradient.** Nobody who sees the orange curve alone would suspect a fault. The missing term removes the part
# along x̂. Without it, x̂ becomes longer in nearly every step. The longer it is, the less a step turns it. After 300 steps the loss is
# three times as high. A falling loss proves nothing. Check gradients.
#
# ## Ties: a jump that does no harm
#
# The selection is not smooth. Take row 0 of the random model and change one bias, that of latent 0. Up to about −0.1, latent 0 is
# among the k = 2 that are kept. Then latent 6 takes its place.


# %%
def loss_of_row_0(bias):
    """The loss of one row, and its slope, with another bias of latent 0."""
    changed = model | {"batch": model["batch"][:1], "b_enc": np.concatenate([[bias], model["b_enc"][1:]])}
    return loss(changed), gradients(**changed, k=k)["b_enc"][0]


biases = np.linspace(-1, 0.6, 321)
tangents = [(bias, *loss_of_row_0(bias)) for bias in (-0.6, 0.2)]
drawings.tie(biases, np.array([loss_of_row_0(bias)[0] for bias in biases]), tangents)

# %% [markdown]
# ![The loss of a row against a bias: two smooth pieces with a jump between them, where the kept latent changes; tangents fit both pieces](pictures/3_tie.png)
#
# On both sides the gradient is the true slope. At the tie itself there is none; the gradient there is that of the side that R1 selects.
# This does no harm, for two reasons. Random real numbers are almost never exactly at a tie. And a step of training has a finite size and
# averages over many rows, so the jump of one row changes little.
#
# It has a price, though: the gradient does not see over the edge, where another latent would be better. And finite differences across a
# tie are wrong, as the step of 0.1 above shows for `b_enc`. So tests choose points away from ties.
#
# ## What the clamp does
#
# If all stored values are zero, then x̂ = 0, and c = 0/0. One NaN in one row would spoil every weight in the next step. So each norm is
# clamped: max(‖x̂‖, 1e-8) (R6). Below 1e-8 the clamped norm is a constant, its derivative is 0, and the second term of E9' is gone. That is
# the line with `where`.

# %%
zero = np.zeros((1, 2))
print(ref.cosine(x_unit[:1], zero), cosine_backward(np.ones(1), x_unit[:1], zero))

# %% [markdown]
# The gradient is huge, but finite, and it points to x̄. [Adam](4_train.md#what-adam-does) divides by the root of a mean of squares that this gradient
# is part of. So the step is at most 3.2 times the learning rate, and those after it are smaller, because the mean remembers.
#
# The same derivations as a reference, for all losses of the package: [derivations.md](../../spec/derivations.md).
#
# ## Exercises
#
# Fill in the functions of [exercises.py](exercises.py), and let the machine check them.
#
# - **Exercise 6**, `cosine` (E9, R6): with a clamp for each norm.
#   `compressae-ref verify --student my_solution.py --exercise 6`
# - **Exercise 7**, `cosine_backward` (E9').
#   `compressae-ref verify --student my_solution.py --exercise 7`
# - **Exercise 8**, `decode_backward` (E7', E7'').
#   `compressae-ref verify --student my_solution.py --exercise 8`
# - **Exercise 9**, `gradients` (E13'): all of it.
#   `compressae-ref verify --student my_solution.py --exercise 9`
# - On paper: derive ∂L/∂x̂ for the squared error ‖x̄ − x̂‖². Is it perpendicular to x̂? What does it do to the length of x̂?
#
# <details><summary>Answer to the last one</summary>
#
# L = Σ_m (x̄_m − x̂_m)², so ∂L/∂x̂ = 2(x̂ − x̄).
#
# It is not perpendicular: ⟨∂L/∂x̂, x̂⟩ = 2(β² − p) = 2β(β − c), because p = c β for a row x̄ of norm 1.
#
# If β > c, a step against the gradient makes x̂ shorter. If β < c, it makes it longer. So the squared error pulls the length of x̂ to c.
# Only at β = c is the gradient perpendicular. (For c < 0, x̂ is always made shorter.) In row 1 of chapter 2, β = c = 0.8; in row 0, β = 1
# is too long.
#
# </details>
#
# ## What this does not show
#
# > A right gradient is not a good model. The learning rate, the start and dead latents are [chapter 4](4_train.md).
# >
# > A check at one point with one seed can pass by luck. A fault that acts only on negative values, on ties or on clamped norms needs a point
# > where they occur. The tests of this repository plant such faults, and see that they are found.
# >
# > Autograd and `gradients` agree to 1e-12, not to the bit, because they add in another order. The reference has an order of its own: row by
# > row, code and rest (E14). Why that matters is [chapter 6](6_why_bits_differ.md).
# >
# > The wrong gradient was tried on random rows. Other data, and another learning rate, give other curves.
