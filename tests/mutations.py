"""One-line faults, each of which must turn the suite red: the tests are tested, too.

A fault is a text that stands exactly once in a file of the package, and what it becomes. It names the tests that have
to catch it, so that they can be run alone. This table survives reformatting better than patch files with their context do.
"""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """Replace ``old`` by ``new`` in ``compressae_ref/<file>``; ``tests`` must fail."""

    what: str
    file: str
    old: str
    new: str
    tests: str


OPS, MODEL, ADAM, INDEX = "ops.py", "model.py", "adam.py", "index.py"
SELECT, SUMS = "backends/numba_select.py", "backends/numba_sums.py"
FILTER, PRODUCTS = "backends/numba_filter.py", "backends/numba_products.py"

FAULTS = [
    # selection
    Fault("ties go to the higher index", "order.py", "<= free)", "> tied.sum(1, keepdims=True) - free)", "test_ops.py -k r1"),
    Fault("selection by value, not magnitude", OPS, "kept = largest(by_magnitude(pre), k)", "kept = largest(pre, k)", "test_ops.py -k r1"),
    Fault("the sign is lost", OPS, "pre[kept].reshape(len(pre), k)", "np.abs(pre[kept]).reshape(len(pre), k)", "test_ops.py -k r1"),
    Fault("−0 is stored", OPS, " + pre.dtype.type(0), pre.shape[1]", ", pre.shape[1]", "test_ops.py -k r2"),
    Fault("the rest holds the largest", OPS, "codes.entries(~kept, codes.k - k)", "codes.entries(kept, k)", "test_ops.py -k k_largest"),
    Fault("truncation by value", "codes.py", "largest(by_magnitude(self.values), k), k)", "largest(self.values, k), k)", "test_codes.py -k trunc"),
    Fault("codes from elsewhere keep −0", "codes.py", "return floats + floats.dtype.type(0)", "return floats", "test_codes.py -k minus_zero"),
    # forward and backward
    Fault("the bias is forgotten", OPS, "W_enc.T[j]) + b_enc[j]", "W_enc.T[j])", "test_oracle.py -k losses"),
    Fault("rows are not scaled before the norm", OPS, "np.ldexp(x, -exponent)", "x", "test_ops.py -k unit"),
    Fault("the clamp of norms is gone", OPS, "np.maximum(row_norms(x), x.dtype.type(COSINE_EPS))", "row_norms(x) + 0", "test_ops.py -k r6"),
    Fault("the gradient of the norm has the wrong sign", OPS, "x_unit - along", "x_unit + along", "test_gradients.py -k direction"),
    Fault("the gradient of a clamped norm is kept", OPS, "norm_hat > x_hat.dtype.type(COSINE_EPS), grad_cos", "norm_hat > 0, grad_cos", "test_ops.py -k clamped"),
    Fault("the fold adds neighbours", "sums.py", "terms[..., :half] + terms[..., half:]", "terms[..., ::2] + terms[..., 1::2]", "test_ops.py -k fold"),
    Fault("BLAS has the last word", OPS, " - 2 * pre_bound(W_enc, b_enc)", "", "test_ops.py -k rounding_alone"),
    Fault("the numbers of BLAS are stored", OPS, "row_dots(x_unit[i], W_enc.T[j]) + b_enc[j]", "(x_unit @ W_enc + b_enc)[i, j]", "test_ops.py -k encode"),
    Fault("the filter has the last word", FILTER, "margin = np.float32(2.0001 * (error + 1.02 * errors[r]))", "margin = np.float32(0)", "test_backends.py -k many_rows"),
    Fault("the filter forgets the rounding of its columns", FILTER, "1.02 * (remainders.max() + LEAST)", "1.02 * LEAST", "test_filter.py"),
    Fault("the filter takes NaN for zero", FILTER, "np.where(long, norms / size / SCALE**2, 0), np.nan)", "np.where(long, norms / size / SCALE**2, 0), 0)", "test_backends.py -k not_a_number"),
    Fault("the filter believes in numbers that underflow", FILTER, "known &= size > SMALLEST", "known &= size > 0", "test_filter.py"),
    Fault("the auxiliary loss has weight one", MODEL, "AUX_WEIGHT = 1 / 8", "AUX_WEIGHT = 1.0", "test_oracle.py -k losses"),
    Fault("k_aux is twice k", MODEL, "min(4 * k, n_latents)", "min(2 * k, n_latents)", "test_gradients.py -k r5"),
    Fault("k_aux may exceed h", MODEL, "return min(4 * k, n_latents)", "return 4 * k", "test_gradients.py -k r5"),
    Fault("the auxiliary gradient misses the codes", OPS, "x_unit, x_hat_k) + grad_x_hat_aux", "x_unit, x_hat_k)", "test_gradients.py -k direction"),
    Fault("the mean is over the block", OPS, "-1 / n_batch", "-1 / len(x_unit)", "test_gradients.py -k block"),
    # Adam and the atoms
    Fault("ε inside the root", ADAM, "(np.sqrt(v / correction2) + eps)", "np.sqrt(v / correction2 + eps)", "test_oracle.py -k r8"),
    Fault("the second moment is not corrected", ADAM, "np.sqrt(v / correction2)", "np.sqrt(v)", "test_oracle.py -k r8"),
    Fault("atoms are not made unit rows", "train.py", 'if config.renormalize == "after_step":', "if False:", "test_oracle.py -k two_hundred"),
    Fault("the projection is done after the step's order", "train.py", "project_decoder_gradient(grads.W_dec, params.W_dec)", "pass", "test_oracle.py -k two_hundred"),
    Fault("the fan-in is d", "params.py", "_within(np.sqrt(6 / n_latents), u_enc)", "_within(np.sqrt(6 / d), u_enc)", "test_train.py -k r9"),
    Fault("the warm-up starts at zero", "config.py", "config.lr * (step + 1) / config.warmup_steps", "config.lr * step / config.warmup_steps", "test_train.py -k rates"),
    # data
    Fault("held-out rows are trained on", "data.py", "yield np.delete(block, here, axis=0) if len(here) else block", "yield block", "test_train.py -k epoch"),
    Fault("nothing is shuffled", "data.py", "n_left + rng.permutation(len(buffer) - n_left)", "np.arange(n_left, len(buffer))", "test_train.py -k mixed"),
    Fault("rows that training does not come to are not checked", "train.py", "check_rows(source, d=d)", "pass", "test_train.py -k come_to_it"),
    Fault("NaN passes", "checks.py", "np.logical_not(np.isfinite(block).all(axis=1))", "np.isinf(block).any(axis=1)", "test_train.py -k r3"),
    Fault("the row of an error counts from the block", "checks.py", "first_row + int(np.argmax(bad))", "int(np.argmax(bad))", "test_train.py -k r3"),
    # retrieval
    Fault("ties in search go to the higher id", INDEX, "np.argsort(-best.scores, axis=1, kind=\"stable\")", "np.argsort(best.scores, axis=1, kind=\"stable\")[:, ::-1]", "test_similarity.py -k r10"),
    Fault("ids start anew in each block", INDEX, "np.arange(first_id, first_id + scores.shape[1])", "np.arange(scores.shape[1])", "test_similarity.py -k r10"),
    Fault("the norms of queries are forgotten", "similarity.py", "dots / (query_norms[:, None] * norms)", "dots / norms", "test_similarity.py -k definition"),
    Fault("codes of another model pass", MODEL, "if codes.model not in (None, self.digest):", "if False:", "test_similarity.py -k refuses"),
    # kernels
    Fault("the kernel adds up rows in another order", PRODUCTS, "for e in range(starts[i], starts[i + 1]):\n            row, weight", "for e in range(starts[i + 1] - 1, starts[i] - 1, -1):\n            row, weight", "test_backends.py -k add_up"),
    Fault("the kernel's threshold takes ties first", SELECT, "(tied & (free > 0))", "(tied & (free > 0) & (i > 0))", "test_backends.py -k selection"),
    Fault("the kernel looks at the top bits alone", SELECT, "range(8 * keys.itemsize - 2, -1, -1)", "range(8 * keys.itemsize - 2, 12, -1)", "test_backends.py -k last_bits"),
    Fault("the kernel adds from left to right", SUMS, "while left > 16 and left % 2 == 0:", "while left > 64 and left % 2 == 0:", "test_backends.py -k decoding"),
    # files
    Fault("the digest is not looked at", "fileformat.py", 'if model.digest != meta["digest"]:', "if False:", "test_files.py"),
    Fault("the version is not looked at", "fileformat.py", " or version != VERSION:", ":", "test_files.py"),
    # the vectors, which know nothing of the code
    Fault("a zero row gets a code at other latents", MODEL, "= np.arange(k), 0\n", "= np.arange(k) + 1, 0\n", "test_vectors.py -k to_the_bit"),
    Fault("a zero row is called not finite", "checks.py", "bad.any() and not infinite[np.argmax(bad)]", "False", "test_cli.py -k bad_rows"),
    Fault("gradients pass through the selection as after a ReLU", OPS, "return Codes.trusted(codes.indices, grad_values, codes.n_latents)", "return Codes.trusted(codes.indices, np.where(codes.values > 0, grad_values, 0), codes.n_latents)", "test_vectors.py -k to_the_bit"),
    Fault("big-endian codes pass", "fileformat.py", '"data": ("<f4", "<f8")', '"data": ("<f4", "<f8", ">f4")', "test_vectors.py -k to_the_bit"),
    Fault("true is taken for version 1", "fileformat.py", "type(version) is not int or ", "", "test_vectors.py -k to_the_bit"),
    Fault("codes of two models are compared", "similarity.py", "if None not in (queries.model, codes.model) and", "if False and", "test_vectors.py -k to_the_bit"),
    Fault("an atom may have any norm", "checks.py", "UNIT_TOLERANCE = 1e-3", "UNIT_TOLERANCE = 1.0", "test_vectors.py -k to_the_bit"),
    # the judge
    Fault("a bound excuses everything", "verify/judge.py", "<= bound)", "<= bound + 1)", "test_verify.py -k excuses"),
    Fault("an error need not name its row", "verify/judge.py", ' and (test.row is None or test.row == answer.get("row"))', "", "test_verify.py -k errors"),
    Fault("outputs may be missing", "verify/judge.py", "    if missing:", "    if False:", "test_verify.py -k changed_output"),
    Fault("one failed level is enough to pass", "verify/command.py", "return not all(result.full", "return not any(result.full", "test_verify.py -k no_more"),
    Fault("what is not supported counts as passed", "verify/report.py", 'if "failed" in answer or "unsupported" in answer:', 'if "unsupported" in answer:\n        return Verdict(True, True, ""), False\n    if "failed" in answer:', "test_verify.py -k no_more"),
    Fault("the reference is not held against its digest", "verify/report.py", "if answers.hexdigest() != expected:", "if False:", "test_verify.py -k reference"),
    Fault("wrong values count as rounding", "verify/audit.py", "(errors > bounds[kept]).any() or ", "", "test_verify.py -k rounding"),
    Fault("wrong selections count as rounding", "verify/audit.py", " or ((magnitude - bounds)[left_out] > least).any()", "", "test_verify.py -k right_values"),
    Fault("another row's tie passes a strict audit", "verify/audit.py", "return self.rows == self.equal if strict", "return self.rows == self.equal + self.tie if strict", "test_verify.py -k tie"),
]  # fmt: skip
