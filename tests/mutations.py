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


REFERENCE, MODEL, STEP, INDEX, IDS = (
    "reference.py",
    "model.py",
    "training/step.py",
    "retrieval/index.py",
    "retrieval/index_ids.py",
)
RANKING, SEARCH_TYPES, TOPK, ENCODE, ROWS, NUMPY_SEARCH, PURSUIT, PACKED_ROWS = (
    f"backends/{name}.py"
    for name in (
        "ranking", "search_types", "numpy/topk", "numpy/encode", "numpy/rows", "numpy/search", "numpy/matching_pursuit",
        "numpy/bit_packing",
    )
)  # fmt: skip
SELECT, SUMS = "backends/numba/topk.py", "backends/numba/sums.py"
FILTER, PRODUCTS = "backends/numba/prefilter.py", "backends/numba/sparse_products.py"
PACKING, PACKED = "extensions/packed_codes.py", "backends/numba/bit_packing.py"
WRITE = "files/atomic_write.py"
EVALUATE, RELEVANCE = "evaluation/evaluate.py", "files/relevance.py"
FITTED, DESCENT, NUMBA_DESCENT = "extensions/fitted_codes.py", "backends/numpy/descent.py", "backends/numba/descent.py"
REFINE, NUMBA_REFINE = "extensions/refine.py", "backends/numba/matching_pursuit.py"
SCALAR, CENTER = "backends/rules.py", "center.py"
DISTILL, KEPT, RELATIONS = (f"training/{name}.py" for name in ("distillation", "kept_latents", "relations"))
SOFTMAX, NUMBA_SOFTMAX = "backends/numpy/softmax.py", "backends/numba/softmax.py"
LISTS, SEARCH, SCAN, HEAP = (
    f"backends/numba/{name}.py" for name in ("inverted_index", "search", "dense_scan", "topk_heap")
)
WORDS, TERMS, SEGMENT_NAMES, NAMER = (f"segments/{name}.py" for name in ("words", "terms", "names", "namer"))
MEMBERSHIP, CONTRAST, DISPERSION, TRENDS, COUNTS, COMPARISONS, HIERARCHY, IDENTITY, DRIFT = (
    f"segments/{name}.py"
    for name in (
        "membership", "contrast", "dispersion", "trends", "counts", "comparisons", "hierarchy", "identity", "drift",
    )
)  # fmt: skip

FAULTS = [
    # names of segments
    Fault("words end at marks", WORDS, "[{L}{N}][{L}{M}{N}]*(?:", "[{L}{N}][{L}{N}]*(?:", "test_names.py -k words_of"),
    Fault("words of any length count", WORDS, "if 1 < len(w) <= MOST_CHARACTERS and not", "if 1 < len(w) and not", "test_names.py -k words_are_those"),
    Fault("pairs of characters do not overlap", WORDS, "({one})(?=({one}))", "({one})({one})", "test_names.py -k words_of"),
    Fault("a text counts a word as often as it has it", TERMS, "    return keys[np.diff(keys, prepend=-1) > 0]", "    return keys", "test_names.py -k dictionaries"),
    Fault("words are forgotten at the end of a block", TERMS, "int(items[np.argmax(ids >= self._most)]) + 1 if full else len(lengths)", "len(lengths)", "test_names.py -k forgotten"),
    Fault("pairs reach from one item to the next", TERMS, " & (items[start] == items[start + 1])", "", "test_names.py -k dictionaries"),
    Fault("names are found on the items that rate them", TERMS, "held_out else ~self.held_out)", "held_out else self.held_out | True)", "test_names.py -k dictionaries"),
    Fault("of tied words the last is the best", SEGMENT_NAMES, "np.lexsort((counts.term,", "np.lexsort((-counts.term,", "test_names.py -k dictionaries"),
    Fault("words of all segments name one", SEGMENT_NAMES, "(RARE_ELSEWHERE * elsewhere <= others) & ", "", "test_names.py -k dictionaries"),
    Fault("texts that end after one pass are taken", SEGMENT_NAMES, "or iter(texts) is texts", "", "test_names.py -k bad_texts"),
    Fault("words that are often apart are a pair", "segments/composing.py", "if all(3 * pair.items >= 2", "if all(4 * pair.items >= 2", "test_names.py -k seldom_apart"),
    Fault("a term repeats another's word", "segments/composing.py", "not any(related(word, other) for word", "not any(word is None for word", "test_names.py -k related_words"),
    Fault("names that are distinct get a key", "segments/composing.py", "if counts[name.casefold()] > 1", "if counts[name.casefold()] > 0", "test_names.py -k made_distinct"),
    Fault("F1 weighs classes by their size", "segments/fidelity.py", "(1.0 + recall + false)", "(1.0 + recall / precision)", "test_names.py -k dictionaries"),
    Fault("a namer that hangs is called again", NAMER, "if not any(error.late for error in errors):", "if True:", "test_names.py -k hangs"),
    Fault("an interrupt costs a name", NAMER, "if not isinstance(error, Exception):", "if False:", "test_names.py -k interrupt"),
    Fault("control characters are in names", NAMER, "if not all(c.isprintable() or c in JOINERS for c in name):", "if False:", "test_names.py -k costs_one"),
    # segments
    Fault("items of small segments are left alone", MEMBERSHIP, "np.where(own >= 0, np.abs(block.values), -1)", "np.abs(block.values)", "test_segments.py -k strongest_segments"),
    Fault("an entry of 0 has a sign", MEMBERSHIP, "    return np.where(codes.values == 0, np.int32(2 * codes.n_latents), numbers)", "    return numbers", "test_segments.py -k strongest_segments"),
    Fault("tied entries are in another order", MEMBERSHIP, "places = np.argsort(-magnitudes, axis=1, kind=\"stable\")[:, :width]", "places = magnitudes.shape[1] - 1 - np.argsort(-magnitudes[:, ::-1], axis=1, kind=\"stable\")[:, :width]", "test_segments.py -k strongest_segments"),
    Fault("segments need one item more", MEMBERSHIP, "counts >= rule.min_items", "counts > rule.min_items", "test_segments.py -k strongest_segments"),
    Fault("the prior has the size of the larger side", CONTRAST, "0.5 * np.minimum(n, n_other) * p", "0.5 * np.maximum(n, n_other) * p", "test_contrast.py -k poisson"),
    Fault("the variance is that of one side", CONTRAST, "1.0 / a + 1.0 / a_other", "2.0 / a", "test_contrast.py -k swapped"),
    Fault("logarithms of quotients are not antisymmetric", CONTRAST, "    return np.where(x < x_other, -size, size)", "    return logarithm(x / x_other)", "test_contrast.py -k swapped"),
    Fault("1 − p rounds to 0", CONTRAST, "np.where(compared, neither, 1.0) / total", "1.0 - np.where(compared, both, 1.0) / total", "test_contrast.py -k nearly_all"),
    Fault("the rank of a discovery is one less", CONTRAST, "q * np.arange(1, ordered.size + 1)", "q * np.arange(ordered.size)", "test_contrast.py -k benjamini"),
    Fault("heavy items count as many", DISPERSION, "np.where(weights > 0, squares, 1.0)", "np.where(weights > 0, weights, 1.0)", "test_contrast.py -k 'viral or factor'"),
    Fault("a long tail does not end where many are expected", DISPERSION, "nu = DEGREES + 2.0 * expected", "nu = DEGREES + 0.0 * expected", "test_contrast.py -k long_tail"),
    Fault("a segment's past is forgotten", DISPERSION, "np.where(place < PAST, np.maximum(own, of_others), own)", "np.where(place < PAST, own, of_others)", "test_contrast.py -k dispersion_is"),
    Fault("windows grow too fast", TRENDS, "length += max(1, length // 4)", "length += max(1, length // 3)", "test_contrast.py -k windows"),
    Fault("what is new only rises", TRENDS, "return \"new\" if absent else \"rising\"", "return \"rising\"", "test_contrast.py -k planted_shapes"),
    Fault("one spike alone is a single item", TRENDS, "tail(without) * found.size > q * found.sum()", "tail(without) > (p[found].max() if found.any() else 0.0)", "test_contrast.py -k viral"),
    Fault("the largest item is the last of its weight", COUNTS, "(w > before) | (self.largest_item[where] < 0)", "(w >= before)", "test_segments.py -k batches"),
    Fault("items of the next batch have the first numbers", COUNTS, "        self.n += len(events.segments)", "        self.n += 0", "test_segments.py -k batches"),
    Fault("large segments are hidden, too", COMPARISONS, "strong & (items < np.median(items))", "strong", "test_segments.py -k hidden"),
    Fault("the weight of sites is not expected", COMPARISONS, "counts.items * cell", "counts.items * mean", "test_segments.py -k hidden"),
    Fault("cuts do not reach the root", HIERARCHY, "for node in range(2 * n - 2, -1, -1):", "for node in range(2 * n - 1):", "test_segments.py -k nested"),
    Fault("opposite atoms are alike", IDENTITY, "(jaccard + np.maximum(cosine, 0.0)) / 2.0", "(jaccard + np.abs(cosine)) / 2.0", "test_segments.py -k best_pairs"),
    Fault("the low quantile is one item higher", DRIFT, "[int(quantile * len(cosines))]", "[int(quantile * len(cosines)) + 1]", "test_segments.py -k explain"),
    Fault("refused items are counted as unexplained", "segments/segments.py", "cosines = explained(self.require_model(\"embeddings\"), items, codes) if judged else np.zeros(0)", "self._judged, cosines = self._judged + judged, explained(self.require_model(\"embeddings\"), items, codes) if judged else np.zeros(0)", "test_segments.py -k refused"),
    # centred models
    Fault("the mean is not subtracted", "unit_blocks.py", "backend.place(backend.fetch(x_unit) - mean)", "backend.place(backend.fetch(x_unit))", "test_center.py -k codes_are_those"),
    Fault("the mean is subtracted from rows of any scale", "training/centering.py", "return x_unit - self._mean", "return block - self._mean", "test_center.py -k sees_rows_without"),
    Fault("items are ranked by the cosine without the mean", CENTER, "reference.clamped_norm(x_hat) / lengths(x_hat, mean)", "reference.clamped_norm(x_hat)", "test_center.py -k definition"),
    Fault("the other root where the mean is behind", CENTER, "np.where(t < 0, w, room / w)", "room / w", "test_center.py -k definition"),
    Fault("what the mean adds to scores is forgotten", SEARCH_TYPES, "divided + self.added[:, None]", "divided", "test_center.py -k original_rows"),
    Fault("stores forget what the mean adds", "stores/query.py", "[score + more for score in hits.scores]", "[score for score in hits.scores]", "test_center.py -k store"),
    Fault("held-out rows are in the mean", "training/centering.py", "sign=-1", "sign=0", "test_center.py -k rows_to_train_on"),
    Fault("the digest does not cover the mean", "params.py", "in self.arrays().items():", "in list(self.arrays().items())[:3]:", "test_center.py -k holds_the_mean"),
    Fault("files of centred models have version 1", "files/model_file.py", "VERSION if params.mean is None else CENTRED_VERSION", "VERSION", "test_center.py -k version_2"),
    Fault("formats of other programs lose the mean", "files/weights/original.py", "if model.params.mean is not None:", "if False:", "test_center.py -k do_not_lose"),
    # training for sparse space
    Fault("the row itself is compared, too", SOFTMAX, "powers[own] = 0\n", "pass\n", "test_distill.py -k 'shares_are_those'"),
    Fault("the largest number is that of the row itself", SOFTMAX, "z[own] = -np.inf", "pass", "test_distill.py -k 'shares_are_those'"),
    Fault("numba: the row itself is compared, too", NUMBA_SOFTMAX, "powers[row] = 0.0", "pass", "test_distill.py -k 'many_rows and numba'"),
    Fault("numba: the fold of shares is not that of other sums", SUMS, "terms[j] += terms[left + j]", "terms[j] += terms[2 * left - 1 - j]", "test_distill.py -k 'many_rows and numba'"),
    Fault("the second part of ln 2 is forgotten", SCALAR, 'float.fromhex("0x1.a39ef35793c76p-33")', "0.0", "test_distill.py -k exponential"),
    Fault("the series of the exponential ends too soon", SCALAR, "for i in range(13, -1, -1)", "for i in [13, *range(13, 0, -1)]", "test_distill.py -k exponential"),
    Fault("exp(x) is 0 too early", SCALAR, "SMALLEST_EXPONENT = -700.0", "SMALLEST_EXPONENT = -600.0", "test_distill.py -k exponential"),
    Fault("dense cosines are not divided by the temperature", DISTILL, "backend.softmax_others(dense, 1 / config.temperature)", "backend.softmax_others(dense, 1.0)", "test_distill.py -k pytorch"),
    Fault("gradients miss the scale", DISTILL, "config.similarity_weight * alpha / (", "config.similarity_weight / (", "test_distill.py -k direction"),
    Fault("a code gets no gradient as an item", DISTILL, "short.weights + short.weights.T + long.weights", "short.weights + long.weights", "test_distill.py -k direction"),
    Fault("a code gets no gradient as a query", DISTILL, "short.weights + short.weights.T + long.weights", "short.weights.T + long.weights", "test_distill.py -k direction"),
    Fault("a code gets no gradient as an item of longer queries", DISTILL, "backward(long.weights.T, codes_k, columns_aux)", "backward(long.weights, codes_k, columns_aux)", "test_distill.py -k direction"),
    Fault("the rest gets the gradient of an item", DISTILL, "backward(long.weights, codes_rest, columns)", "backward(long.weights.T, codes_rest, columns)", "test_distill.py -k direction"),
    Fault("norms of codes are constants", DISTILL, "- (along + along_aux)[:, None] * code.values", "- 0 * code.values", "test_distill.py -k direction"),
    Fault("the norm of an item of longer queries is a constant", DISTILL, "norms) + _along(long.item_sums, norms)", "norms)", "test_distill.py -k direction"),
    Fault("a clamped norm of a code is differentiated", DISTILL, "norms > norms.dtype.type(1e-8), sums", "norms > 0, sums", "test_distill.py -k clamped"),
    Fault("the norm of a longer code is added up in another order", DISTILL, "reference.code_norm(long_code.values)", "reference.code_norm(long_code.values[:, ::-1])", "test_spec.py -k sparse_space"),
    Fault("the scales do not move", STEP, "        state.scales.step(grad_theta, adam_config, state.adam.step)", "        pass", "test_distill.py -k 'fifty and numpy'"),
    Fault("the scales move at the rate of the parameters", DISTILL, "step, SCALE_LR, config.beta1", "step, config.lr, config.beta1", "test_distill.py -k scales_take"),
    Fault("half of the dots are not set", SUMS, "out[j, i] = out[i, j]", "pass", "test_distill.py -k 'copy and numba'"),
    Fault("the least used latents are kept", KEPT, "np.argsort(-counts", "np.argsort(counts", "test_distill.py -k kept"),
    Fault("related rows are not in the target", DISTILL, "        add_related(shares, related, config.relevance_weight)\n", "        pass\n", "test_distill.py -k 'every_gradient_agree'"),
    Fault("the target is more than 1", DISTILL, "shares[rows] *= shares.dtype.type(1 - weight)", "pass", "test_distill.py -k their_share"),
    Fault("each related row has the whole share", DISTILL, "np.repeat(weight / counts, counts)", "np.repeat(weight + 0 * counts, counts)", "test_distill.py -k their_share"),
    Fault("a pair counts in one direction", RELATIONS, "np.concatenate([used, used[:, ::-1]])", "used", "test_distill.py -k r25"),
    Fault("the partner is the same in every step", RELATIONS, "(step - 1) % counts[counts > 0]", "0 * counts[counts > 0]", "test_distill.py -k r25"),
    Fault("related rows that are held out are used", RELATIONS, "used = pairs[~np.isin(pairs, held_out).any(axis=1)]", "used = pairs", "test_distill.py -k r25"),
    Fault("related rows keep the numbers of all rows", RELATIONS, "= np.arange(len(rows))\n    ends", "= rows.numbers(0, len(rows))\n    ends", "test_zero_rows.py -k training_leaves"),
    Fault("partners begin anew after a resumption", RELATIONS, "self._relations, self._step = relations, step", "self._relations, self._step = relations, 0", "test_checkpoint.py -k other_relevance"),
    Fault("a row may be related to itself", RELATIONS, 'reject(given[:, 0] == given[:, 1], "', 'reject(given[:, 0] < 0, "', "test_train.py -k relevance_that"),
    Fault("other relations pass", "training/resume.py", "        if digest != stored:\n", "        if False:\n", "test_checkpoint.py -k other_relevance"),
    Fault("shares of latents are those of full batches", "training/history.py", "int(state.usage.sum()) // self.config.k", "len(self.losses) * self.config.batch_size", "test_train.py -k whole_share"),
    Fault("rows of the sample are the first ones", KEPT, "* len(training) // SAMPLED_ROWS]", "* 1]", "test_distill.py -k kept"),
    # fitted codes
    Fault("an anchor competes with itself", FITTED, "np.fill_diagonal(powers, 0)", "pass", "test_fitted.py -k totals"),
    Fault("anchors compete as long codes", FITTED, "unit_codes(backend.split_codes(wide, k)[0].to_host())", "unit_codes(wide.to_host())", "test_fitted.py -k totals"),
    Fault("dense shares have the totals of codes", FITTED, "shares_beside(dense, FACTOR, group.totals[0])", "shares_beside(dense, FACTOR, group.totals[1])", "test_fitted.py -k divergence"),
    Fault("codes are pushed away where they should be near", FITTED, "excess -= backend", "excess += backend", "test_fitted.py -k divergence"),
    Fault("the first anchors are used", FITTED, "np.arange(n) * len(rows) // n", "np.arange(n)", "test_fitted.py -k evenly"),
    Fault("groups are consecutive", FITTED, "x[g::n_groups]", "x[g * n // n_groups : (g + 1) * n // n_groups]", "test_fitted.py -k evenly"),
    Fault("the rate does not fall", FITTED, "RATE * (1 - step / steps)", "RATE", "test_spec.py -k fitted_codes"),
    Fault("every step has the first group", FITTED, "self.groups[step % len(self.groups)]", "self.groups[0]", "test_spec.py -k fitted_codes"),
    Fault("anchors of another model are taken", FITTED, "(model.digest[:12], k or anchors.k)", "(anchors.model.digest[:12], k or anchors.k)", "test_fitted.py -k another_model"),
    Fault("the part along the code stays in the gradient", DESCENT, "tangent = stored - along[:, None] * values", "tangent = stored", "test_fitted.py -k sphere"),
    Fault("gradients of the caller are changed", DESCENT, 'np.array(grad[:, rows].T, order="C")', "np.ascontiguousarray(grad[:, rows].T)", "test_fitted.py -k 'steps_have and numpy'"),
    Fault("numba: candidates above the least entry are lost", NUMBA_DESCENT, "m += keys[j] >= least", "m += keys[j] > least", "test_fitted.py -k 'steps_have and numba'"),
    Fault("numba: the part along the code stays in the gradient", NUMBA_DESCENT, "g[indices[t]] -= along * values[t]", "pass", "test_fitted.py -k 'steps_have and numba'"),
    Fault("stores take fitted codes for others", "stores/stored_form.py", ' + "_fitted" * self.fitted', "", "test_store_commands.py -k fitted"),
    # selection
    Fault("ties go to the higher index", TOPK, "<= free)", "> tied.sum(1, keepdims=True) - free)", "test_numpy_backend.py -k partition"),
    Fault("selection by value, not magnitude", TOPK, "kept = largest(by_magnitude(pre), k)", "kept = largest(pre, k)", "test_numpy_backend.py -k partition"),
    Fault("the sign is lost", TOPK, "pre[kept].reshape(len(pre), k)", "np.abs(pre[kept]).reshape(len(pre), k)", "test_numpy_backend.py -k partition"),
    Fault("−0 is stored", TOPK, " + pre.dtype.type(0), pre.shape[1]", ", pre.shape[1]", "test_numpy_backend.py -k partition"),
    Fault("the rest holds the largest", TOPK, "some.entries(~kept, codes.k - k)", "some.entries(kept, k)", "test_backends.py -k test_selection"),
    Fault("truncation by value", "codes.py", "reference.split_code(self.indices, self.values, int(k))[0]", "reference.split_code(self.indices, np.maximum(self.values, 0), int(k))[0]", "test_codes.py -k trunc"),
    Fault("codes from elsewhere keep −0", "codes.py", "return floats + floats.dtype.type(0)", "return floats", "test_codes.py -k minus_zero"),
    # forward and backward
    Fault("the bias is forgotten", ENCODE, "W_enc.T, candidates) + b_enc[candidates]", "W_enc.T, candidates)", "test_oracle.py -k losses"),
    Fault("rows are not scaled before the norm", REFERENCE, "np.ldexp(x, -exponent)", "x", "test_reference.py -k unit"),
    Fault("the clamp of norms is gone", REFERENCE, "np.maximum(norm(a), a.dtype.type(1e-8))", "norm(a) + 0", "test_reference.py -k r6"),
    Fault("the gradient of the norm has the wrong sign", REFERENCE, "x_unit - along", "x_unit + along", "test_gradients.py -k direction"),
    Fault("the gradient of a clamped norm is kept", REFERENCE, "norm_hat > x_hat.dtype.type(1e-8), along", "norm_hat > 0, along", "test_reference.py -k clamped"),
    Fault("the fold adds neighbours", REFERENCE, "terms[..., :half] + terms[..., half:]", "terms[..., ::2] + terms[..., 1::2]", "test_reference.py -k fold"),
    Fault("BLAS has the last word", ENCODE, " - 2 * bound", "", "test_backends.py -k rounding_alone"),
    Fault("the numbers of BLAS are stored", ENCODE, "chosen_dots(x_unit, W_enc.T, candidates) + b_enc[candidates]", "np.take_along_axis(product + b_enc, candidates, axis=1)", "test_backends.py -k test_encoding"),
    Fault("the filter has the last word", FILTER, "margin = np.float32(2.0001 * (error + 1.02 * errors[r]))", "margin = np.float32(0)", "test_backends.py -k 'many_rows and numba'"),
    Fault("the filter forgets the rounding of its columns", FILTER, "1.02 * (remainders.max() + MIN_RELATIVE_NORM)", "1.02 * MIN_RELATIVE_NORM", "test_filter.py"),
    Fault("the filter takes NaN for zero", FILTER, "norms / size / SCALE**2, np.nan)", "norms / size / SCALE**2, 0)", "test_backends.py -k 'not_a_number and numba'"),
    Fault("the filter believes in numbers that underflow", FILTER, "(size > MIN_SIZE)", "(size > 0)", "test_filter.py"),
    Fault("the auxiliary loss has weight one", MODEL, "AUX_WEIGHT = 1 / 8", "AUX_WEIGHT = 1.0", "test_oracle.py -k losses"),
    Fault("k_aux is twice k", MODEL, "min(4 * k, n_latents)", "min(2 * k, n_latents)", "test_gradients.py -k r5"),
    Fault("k_aux may exceed h", MODEL, "return min(4 * k, n_latents)", "return 4 * k", "test_gradients.py -k r5"),
    Fault("the auxiliary gradient misses the codes", ROWS, "reference.cosine_backward(grad_cos[rows], x, k) + grad_aux", "reference.cosine_backward(grad_cos[rows], x, k)", "test_gradients.py -k direction"),
    Fault("the mean is over the block", ROWS, "-1 / n_batch", "-1 / len(x_unit)", "test_gradients.py -k block"),
    # Adam and the atoms
    Fault("ε inside the root", "backends/numpy/adam.py", "(np.sqrt(v[some] / correction2) + eps)", "np.sqrt(v[some] / correction2 + eps)", "test_oracle.py -k r8"),
    Fault("the second moment is not corrected", "backends/numpy/adam.py", "np.sqrt(v[some] / correction2)", "np.sqrt(v[some])", "test_oracle.py -k r8"),
    Fault("atoms are not made unit rows", STEP, 'if config.renormalize == "after_step":', "if False:", "test_oracle.py -k two_hundred"),
    Fault("the projection is done after the step's order", STEP, "backend.project_decoder_gradient(grads.W_dec, params.W_dec)", "pass", "test_oracle.py -k two_hundred"),
    Fault("the fan-in is d", REFERENCE, "(2 * u_enc - 1) * np.sqrt(6 / h)", "(2 * u_enc - 1) * np.sqrt(6 / d)", "test_train.py -k r9"),
    Fault("the warm-up starts at zero", "training/settings.py", "config.lr * (step + 1) / config.warmup_steps", "config.lr * step / config.warmup_steps", "test_train.py -k rates"),
    # data
    Fault("held-out rows are trained on", "training/batches.py", "return np.delete(block, here, axis=0) if len(here) else block", "return block", "test_train.py -k epoch"),
    Fault("nothing is shuffled", "training/batches.py", "n_left + rng.permutation(len(buffer) - n_left)", "np.arange(n_left, len(buffer))", "test_train.py -k mixed"),
    Fault("rows that training does not come to are not checked", "training/fit.py", "    rows.check()\n", "    pass\n", "test_train.py -k come_to_it"),
    Fault("NaN passes", "checks.py", "np.logical_not(np.isfinite(block).all(axis=1))", "np.isinf(block).any(axis=1)", "test_train.py -k r3"),
    Fault("the row of an error counts from the block", "checks.py", "first_row + int(np.argmax(bad))", "int(np.argmax(bad))", "test_train.py -k r3"),
    # checkpoints
    Fault("moments are not restored", "training/resume.py", "state.adam = AdamState(_integer(self.meta[\"step\"], \"step\", 1, config.steps or 0), m, v)", "state.adam.step = self.meta[\"step\"]", "test_checkpoint.py -k every_step"),
    Fault("the generator is not restored", "training/batches.py", "            set_generator_state(rng, place.generator)\n", "", "test_checkpoint.py -k go_on_from"),
    Fault("usage is not restored", "training/resume.py", "state.usage[:] = self._array(\"usage\", np.int64, state.usage.shape)", "pass", "test_checkpoint.py -k every_step"),
    Fault("batches that were drawn are drawn again", "training/batches.py", "self._next = place.drawn * batch_size", "self._next = 0", "test_checkpoint.py -k go_on_from"),
    Fault("rows that were left over are forgotten", "training/batches.py", "self._fill(None, place.left)", "self._fill(None, 0)", "test_checkpoint.py -k go_on_from"),
    Fault("the best model is not restored", "training/history.py", "if self._is_best(record) and best is not None:", "if False:", "test_checkpoint.py -k early"),
    Fault("records do not count after a resumption", "training/history.py", "        self.stale += 1\n", "        self.stale += not self.best\n", "test_checkpoint.py -k early"),
    Fault("losses since the last record are lost", "training/history.py", "[*records], [*losses], ", "[*records], [losses[-1]] * len(losses), ", "test_checkpoint.py -k every_step"),
    Fault("another setting passes", "training/resume.py", "                raise _differs(name, stored, got, self.path)", "                pass", "test_checkpoint.py -k by_name"),
    Fault("other rows pass", "training/resume.py", "if data_facts(rows) == self.data:", "if True:", "test_checkpoint.py -k other_data"),
    Fault("the last row is not sampled", "training/checkpoint.py", "np.linspace(0, len(rows) - 1, ", "np.linspace(0, len(rows) // 2, ", "test_checkpoint.py -k other_data"),
    Fault("a signal does not wait for the step", "training/deferred_signals.py", "signal.signal(number, self._defer)", "pass", "test_checkpoint.py -k waits_for"),
    Fault("a signal leaves no checkpoint", "training/checkpoint_schedule.py", "if self._signals.pending is not None or ", "if ", "test_checkpoint.py -k waits_for"),
    Fault("a full disk ends the training", "training/checkpoint_schedule.py", "except OSError as error:", "except EOFError as error:", "test_checkpoint.py -k full_disk"),
    Fault("a training from a model starts anew", "training/fit.py", "    if start is None:\n        params = init_params", "    if True:\n        params = init_params", "test_checkpoint.py -k starts_from"),
    # retrieval
    Fault("ties in search go to the higher id", RANKING, "np.argsort(-best.scores, axis=1, kind=\"stable\")", "np.argsort(best.scores, axis=1, kind=\"stable\")[:, ::-1]", "test_similarity.py -k r10"),
    Fault("ids start anew in each block", NUMPY_SEARCH, "best = merged(best, scores, block, top)", "best = merged(best, scores, block - start, top)", "test_similarity.py -k r10"),
    Fault("the norms of queries are forgotten", SEARCH_TYPES, "dots / (query_norms[:, None] * norms)", "dots / norms", "test_similarity.py -k definition"),
    Fault("ranks are of no account", NUMPY_SEARCH, "rows = np.argsort(items.ranks)", "rows = np.arange(len(items.ranks))", "test_best_items.py -k sort"),
    Fault("the best of parts: ties by the row", RANKING, "np.lexsort((ranks[rows], -scores))", "np.lexsort((rows, -scores))", "test_best_items.py -k parts"),
    Fault("what is forbidden is found", SEARCH, "if allowed.size > 0:", "if allowed.size > 1_000_000:", "test_best_items.py -k 'sort and numba'"),
    Fault("the scan finds what is forbidden", SCAN, "if allowed.size > 0 and not allowed[row]:", "if allowed.size > 1_000_000 and not allowed[row]:", "test_best_items.py -k 'sort and numba'"),
    Fault("no room for rounding to integers", SEARCH, "errors = 1.001 * (", "errors = 0.5 * (", "test_best_items.py -k 'rounding and numba'"),
    Fault("no room for what underflows", SEARCH, "eps * MAX_SUM + units * (", "eps * MAX_SUM + 0 * units * (", "test_best_items.py -k 'underflows and numba'"),
    Fault("the lists of a block are found by their beginnings in it", SEARCH, "start, stop = base + starts[j], ", "start, stop = starts[j], ", "test_best_items.py -k 'many_items and numba'"),
    Fault("sums run over", SEARCH, "MAX_SUM = 32_000", "MAX_SUM = 64_000", "test_best_items.py -k 'long and numba'"),
    Fault("one too few in a block is enough", SEARCH, "cut = _rounded_down(_kth_largest(block_sums, top) - 2 * errors[q])", "cut = _rounded_down(_kth_largest(block_sums, top) + 1 - 0 * errors[q])", "test_best_items.py -k 'many_items and numba'"),
    Fault("columns hold the first integers twice", LISTS, "columns[column_of[b, j], i - first_row] = ", "columns[column_of[b, j], 0] = ", "test_best_items.py -k 'sort and numba'"),
    Fault("what rounding leaves of values is forgotten", LISTS, "remainder += (scaled - nearest) * (scaled - nearest)", "remainder += 0.0 * scaled", "test_best_items.py -k 'rounding and numba'"),
    Fault("of equal scores the higher rank is better", SCALAR, "(key == other_key) & (rank > other_rank)", "(key == other_key) & (rank < other_rank)", "test_best_items.py -k 'sort and numba'"),
    Fault("only the first child sinks", HEAP, "below += 1", "below += 0", "test_best_items.py -k 'sort and numba'"),
    Fault("a scan adds up the entries backwards", SCAN, "for t in range(indices.shape[1]):", "for t in range(indices.shape[1] - 1, -1, -1):", "test_best_items.py -k 'sort and numba'"),
    Fault("removed items come back when they are forgotten", INDEX, "Segment.of(whole.codes[alive], whole.norms[alive], backend)", "Segment.of(whole.codes[: alive.sum()], whole.norms[: alive.sum()], backend)", "test_index.py"),
    Fault("a search takes the segments of one state and the ids of another", INDEX, "return Hits(state.ids.values[hits.ids], vectors.scores(hits.scores))", "return Hits(self._state.ids.values[hits.ids], vectors.scores(hits.scores))", "test_index.py -k one_state"),
    Fault("two writers change an index at once", INDEX, "        with self._lock:\n            segments, before = self._state", "        if True:\n            segments, before = self._state", "test_index.py -k one_state"),
    Fault("an id is removed from states that searches read", IDS, "self._rows_of_writer, alive = None, self.alive.copy()", "self._rows_of_writer, alive = None, self.alive", "test_index.py -k one_state"),
    Fault("a copy of an index shares the rows that writers change", INDEX, "State(segments, copy(ids))", "State(segments, ids)", "test_index.py -k copy_or_a_pickle"),
    Fault("a failed add leaves its ids behind", IDS, "        self._rows_of_writer = None\n        rows.update", "        rows.update", "test_index.py -k failed_add"),
    Fault("segments forget where they begin", INDEX, "parts.append(Hits(hits.ids + first, hits.scores))", "parts.append(Hits(hits.ids, hits.scores))", "test_index.py"),
    Fault("the rows of a segment are looked for from the first one on", "retrieval/index_segments.py", "local = rows[inside] - first", "local = rows[inside] % len(segment.codes)", "test_index.py -k rescoring"),
    Fault("the second of equal correlations is taken", PURSUIT, "np.where(left, np.abs(r), -1)))", "-np.where(left, np.abs(r), -1)[::-1]))", "test_vectors.py -k every_level"),
    Fault("atoms in the span of others are chosen", PURSUIT, "if not new[c] > tolerance(r.dtype) * square:", "if not new[c] > 0 * square:", "test_vectors.py -k every_level"),
    Fault("correlations stay those with the row", PURSUIT, "r = r - y[s] * p[s]", "r = r - 0 * p[s]", "test_refinement.py -k by_hand"),
    Fault("a product is taken away that is not there", PURSUIT, "for c in chosen[t + 1 :]:", "for c in chosen[t + 2 :]:", "test_refinement.py"),
    Fault("too few entries are filled up from the top", PURSUIT, "others[: k - len(pursuit.chosen)]", "others[::-1][: k - len(pursuit.chosen)]", "test_refinement.py"),
    Fault("fewer candidates than entries", REFINE, "    if m < k:", "    if m < 0:", "test_refinement.py -k what_does_not_fit"),
    Fault("zero rows are refined", REFINE, "parts.append(rows.finish(refined, block.zero, ", "parts.append(rows.finish(refined, block.zero & False, ", "test_refinement.py -k zero_rows"),
    Fault("what has been tried is tried again", NUMBA_REFINE, "left[c] = 0\n            if", "left[c] = left[c]\n            if", "test_refinement.py -k 'bits and numba'"),
    Fault("directions are taken away from the last one", NUMBA_REFINE, "for s in range(size):\n            lanes", "for s in range(size - 1, -1, -1):\n            lanes", "test_refinement.py -k 'bits and numba'"),
    Fault("the dots of another atom", NUMBA_REFINE, "row = dots[latent]", "row = dots[latent - 1]", "test_refinement.py -k 'bits and numba'"),
    Fault("not all that is left is filled", NUMBA_REFINE, "others, t = indices.size - chosen.size, 0", "others, t = latents.size, 0", "test_refinement.py -k 'bits and numba'"),
    Fault("magnitudes are rounded to the nearest level", PACKED_ROWS, "np.floor(ratio * L)", "np.rint(ratio * L)", "test_packing.py"),
    Fault("rows of zeros are stored as others", PACKED_ROWS, "row_bits[~block.values.any(axis=1)] = 0", "row_bits[~block.values.any(axis=1)] *= 1", "test_packing.py"),
    Fault("bits behind the last value are not looked at", PACKED_ROWS, "| padding.any(axis=1)", "| False", "test_packing.py -k any_bytes"),
    Fault("indices that do not ascend are taken", PACKED_ROWS, "(np.diff(indices, axis=1) <= 0).any(axis=1)", "(np.diff(indices, axis=1) < 0).any(axis=1)", "test_vectors.py -k every_level"),
    Fault("the kernel takes a latent twice", PACKED, "latent <= previous", "latent < previous", "test_packing.py -k 'changed_bit and numba'"),
    Fault("the kernel reads beyond the end", PACKED, "padded[0, :row_bytes] = data[i]", "padded[0, :8] = data[i, :8]", "test_packing.py -k 'bytes_of_an_item and numba'"),
    Fault("the kernel does not look at the padding", PACKED, "or padding != 0", "or padding < 0", "test_packing.py -k 'any_bytes and numba'"),
    Fault("packed files are not looked at", PACKING, "    packed.unpack()\n", "    packed.layout\n", "test_packing.py"),
    # evaluation
    Fault("negative values go to the even dimension", "codes.py", "* 2 + negative", "* 2 + ~negative", "test_codes.py -k split"),
    Fault("packed codes are asked as they were before", EVALUATE, "codes, stored_bytes = packed.unpack(backend=backend), packed", "stored_bytes = packed", "test_evaluate.py -k what_its_search_finds"),
    Fault("truth of other tops", EVALUATE, "self.truth[:, :top]", "self.truth", "test_evaluate.py -k what_its_search_finds"),
    Fault("two stages choose among too few", EVALUATE, "RESCORED * top if", "top if", "test_evaluate.py -k what_its_search_finds"),
    Fault("the ideal order is the given one", "metrics.py", "sorted(grades.values(), reverse=True)", "list(grades.values())", "test_evaluate.py -k ndcg"),
    Fault("ranks are discounted from 0", "metrics.py", "np.arange(2, top + 2)", "np.arange(1, top + 1) + 1.5", "test_evaluate.py -k ndcg"),
    Fault("binary codes are not scored again", "evaluation/baselines.py", "np.argsort(-scores, axis=1", "np.argsort(0 * scores, axis=1", "test_evaluate.py -k less"),
    Fault("PCA keeps the least", "evaluation/baselines.py", ".T[::-1]", ".T", "test_evaluate.py -k less"),
    Fault("codes of any size count", "evaluation/frontier.py", "if one.bytes_per_item <= size", "if one.bytes_per_item <= size + 1", "test_evaluate.py -k codes_of_as_few"),
    Fault("bits go to the least variance", "evaluation/levels.py", "np.argsort(-gains.ravel()", "np.argsort(gains.ravel()", "test_evaluate.py -k largest_variances"),
    Fault("indices move where the cosine falls", "evaluation/quantisers.py", "square > dot * np.abs(dot)", "square < dot * np.abs(dot)", "test_evaluate.py -k nearest_levels"),
    Fault("the frontier forgets bytes", "evaluation/frontier.py", "row.recall[top], -row.bytes_per_item\n", "row.recall[top], 0\n", "test_evaluate.py -k frontier"),
    Fault("altered bytes of an index are not looked at", "retrieval/index_file.py", "map_npz(InputFile(path), check=check)", "map_npz(InputFile(path))", "test_index.py -k every_bit"),
    Fault("members begin anywhere in a file", "files/npz.py", "length = 4 + -(start + 4) % CACHE_LINE_BYTES", "length = 8 + -(start + 4) % CACHE_LINE_BYTES", "test_index.py -k cache_line"),
    Fault("a mapped file is changed", "files/memory_map.py", "access=mmap.ACCESS_COPY", "access=mmap.ACCESS_WRITE", "test_index.py -k loaded_is_a_copy"),
    Fault("a number is given twice", IDS, "return highest + 1 if self.next_number is None else self.next_number", "return highest + 1", "test_index.py"),
    Fault("an id may be added twice", IDS, "            if item in rows:", "            if False:", "test_index.py"),
    Fault("half of the ids are removed before the error", IDS, "if unknown := [item for item in items if item not in rows]:", "if unknown := [item for item in items if not rows.pop(item, -1) >= 0]:", "test_index.py"),
    Fault("rescoring keeps the first order", INDEX, "return best_of([Hits(hits.ids, scores)], state.ids.ranks, top)", "return Hits(hits.ids[:, :top], scores[:, :top])", "test_index.py -k rescoring"),
    Fault("codes of another model pass", MODEL, "if codes.model not in (None, self.digest):", "if False:", "test_similarity.py -k refuses"),
    # kernels
    Fault("the kernel adds up rows in another order", PRODUCTS, "for e in range(starts[i], starts[i + 1]):\n            row, weight", "for e in range(starts[i + 1] - 1, starts[i] - 1, -1):\n            row, weight", "test_backends.py -k 'add_up and numba'"),
    Fault("the kernel's threshold takes ties first", SELECT, "free -= keys[i] == threshold", "free -= (keys[i] == threshold) & (i > 0)", "test_backends.py -k 'selection and numba'"),
    Fault("the kernel looks at the top bits alone", SELECT, "range(8 * keys.itemsize - 2, -1, -1)", "range(8 * keys.itemsize - 2, 12, -1)", "test_backends.py -k 'last_bits and numba'"),
    Fault("the kernel adds from left to right", SCALAR, "(terms > 16) & (terms % 2 == 0)", "(terms > 64) & (terms % 2 == 0)", "test_refinement.py -k 'real_size and numba'"),
    # files
    Fault("the digest is not looked at", "files/model_file.py", 'if model.digest != meta["digest"]:', "if False:", "test_files.py"),
    Fault("the version is not looked at", "files/model_file.py", " or version not in versions:", ":", "test_files.py"),
    # the vectors, which know nothing of the code
    Fault("a zero row gets a code at other latents", "unit_blocks.py", "= np.arange(codes.k), 0\n", "= np.arange(codes.k) + 1, 0\n", "test_vectors.py -k to_the_bit"),
    Fault("rows after a gap are those before it", "row_source.py", 'self._left_before, rows, side="right")', 'self._left_before, rows, side="left")', "test_zero_rows.py"),
    Fault("a dense query of zeros has some direction", "retrieval/spaces.py", "np.where(block.zero[:, None], x_unit.dtype.type(0)", "np.where(block.zero[:, None] & False, x_unit.dtype.type(0)", "test_zero_rows.py -k a_zero_query"),
    Fault("columns of pairs are taken in order", "files/pair_columns.py", "    if names is not None and (found := _by_names(names)) is not None:\n", "    if False:\n", "test_relevance.py -k 'every_form and order'"),
    Fault("pairs that may be ids and row numbers are ids", "files/relevance_file.py", "    if known.all() and (by_id == by_row).all():\n", "    if True:\n", "test_relevance.py -k ambiguous"),
    Fault("unknown ids are ignored in silence", "files/relevance_file.py", "    notes += _ignored(written, rows, queries, items)\n", "", "test_relevance.py -k is_said"),
    Fault("relevant pairs keep the numbers of all rows", RELEVANCE, "row for row, number in enumerate(source.numbers().tolist())", "number for number in source.numbers().tolist()", "test_zero_rows.py -k numbers_of_relevant"),
    Fault("a zero row is called not finite", "checks.py", "bad.any() and not infinite[np.argmax(bad)]", "False", "test_cli.py -k bad_rows"),
    Fault("gradients pass through the selection as after a ReLU", STEP, "return Codes.trusted(codes.indices, grad_values, codes.n_latents)", "return Codes.trusted(codes.indices, np.where(codes.values > 0, grad_values, 0), codes.n_latents)", "test_vectors.py -k to_the_bit"),
    Fault("big-endian codes pass", "files/codes_file.py", '"data": ("<f4", "<f8")', '"data": ("<f4", "<f8", ">f4")', "test_vectors.py -k to_the_bit"),
    Fault("true is taken for version 1", "files/model_file.py", "type(version) is not int or ", "", "test_vectors.py -k to_the_bit"),
    Fault("numbers in the byte order of the machine are read", "files/npz.py", "if dtype.str.encode() not in header:", "if False:", "test_vectors.py -k to_the_bit"),
    Fault("two archives in one file are read", "files/npz.py", "if min((info.header_offset for info in archive.infolist()), default=0) > 0:", "if False:", "test_vectors.py -k to_the_bit"),
    Fault("NaN is taken for JSON", "files/model_file.py", ", parse_constant=refuse)", ")", "test_vectors.py -k to_the_bit"),
    Fault("codes of two models are compared", "retrieval/spaces.py", "if None not in (queries.model, codes.model) and", "if False and", "test_vectors.py -k to_the_bit"),
    Fault("an atom may have any norm", "checks.py", "UNIT_TOLERANCE = 1e-3", "UNIT_TOLERANCE = 1.0", "test_vectors.py -k to_the_bit"),
    # the history of a training
    Fault("the best record is not in the model file", "training/history.py", "{*places.tolist(), best}", "{*places.tolist()}", "test_train.py -k the_best_is_in"),
    Fault("losses are stored with three decimals", "training/history.py", "round(loss, DECIMALS)", "round(loss, 3)", "test_train.py -k has_the_history"),
    Fault("the cosine of others is that of the next row", "training/history.py", "len(x_unit) // 2 if of_others", "1 if of_others", "test_train.py -k another_row"),
    # the judge
    Fault("a bound excuses everything", "verify/judge.py", "<= bound)", "<= bound + 1)", "test_verify.py -k excuses"),
    Fault("an error need not name its row", "verify/judge.py", ' and (test.row is None or test.row == answer.get("row"))', "", "test_verify.py -k errors"),
    Fault("outputs may be missing", "verify/judge.py", "    if missing := [name for name in required_outputs(test) if name not in outputs]:", "    if missing := []:", "test_verify.py -k changed_output"),
    Fault("a line that is no answer is taken for one", "verify/programs.py", "if not line or not is_noise(line):", "if True:", "test_verify.py -k not_answers"),
    Fault("lines that are no answers are skipped for ever", "verify/programs.py", "            self.noise += 1\n", "", "test_verify.py -k three_lines"),
    Fault("a fault of the protocol has a cause in the numbers", "verify/suite.py", "if not verdict.in_form or ", "if ", "test_verify.py -k another_form"),
    Fault("any known mistake is the cause", "verify/suite.py", " if told == given]", "]", "test_verify.py -k no_single_mistake"),
    Fault("an exception of the installation ends the report", "verify/self_test.py", "except Exception as error:", "except ZeroDivisionError as error:", "test_verify.py -k exception_of"),
    Fault("one failed level is enough to pass", "cli/verify_steps.py", "return not all(result.full", "return not any(result.full", "test_verify.py -k no_more"),
    Fault("what is not supported counts as passed", "verify/report.py", 'if "failed" in answer or "unsupported" in answer:', 'if "unsupported" in answer:\n        return Verdict(True, True, ""), False\n    if "failed" in answer:', "test_verify.py -k no_more"),
    Fault("the reference is not held against its digest", "verify/suite.py", "if answers.hexdigest() != expected:", "if False:", "test_verify.py -k reference"),
    Fault("wrong values count as rounding", "verify/audit_rows.py", "wrong = (errors > bounds).any(axis=1)", "wrong = np.zeros(len(given), bool)", "test_verify.py -k rounding"),
    Fault("wrong selections count as rounding", "verify/audit_rows.py", "    wrong |= left.max(axis=1) > least\n", "", "test_verify.py -k right_values"),
    Fault("packed values may be at any level", "verify/audit_rows.py", "    return np.where(kept, np.abs(dense - scaled), 0), bad & kept", "    return np.where(kept, np.abs(dense - scaled), 0), bad & False", "test_audit.py -k another_level"),
    Fault("wrong values of refined codes count as rounding", "verify/audit_refined.py", "bad = errors > solved.bounds", "bad = errors > np.inf", "test_audit.py -k wrong_value"),
    Fault("refined codes may choose any atoms", "verify/audit_refined.py", "if rivals.max(initial=-np.inf) > np.abs(r[now]) + errors[now]:", "if False:", "test_audit.py -k other_atoms"),
    Fault("an audit ends early when few rows are wrong", "verify/audit.py", " and 2 * result.wrong > result.rows", "", "test_audit.py -k ends_early"),
    Fault("another row's tie passes a strict audit", "verify/audit.py", "return self.rows == self.equal if strict", "return self.rows == self.equal + self.tie if strict", "test_verify.py -k tie"),
    # files of other programs
    Fault("SciPy's entries are not checked", "codes.py", "        _require_valid_entries(matrix)", "        pass", "test_codes.py -k compiled_code"),
    Fault("a file may unfold to any size", "checks.py", "if unfolded > max(FREE_BYTES, MAX_UNFOLDING * stored):", "if False:", "test_reading.py -k unfold"),
    Fault("a batch of Arrow may unfold to any size", "files/foreign/arrow_messages.py", 'require_unfolding(stored, sum(sizes), "batch")', "pass", "test_reading.py -k columns_that_unfold"),
    Fault("an object of HDF5's heap may be longer than the heap", "files/foreign/hdf5_heap.py", "if not at < end <= len(content):", "if not at < end:", "test_reading.py -k outside_of_its_heap"),
    Fault("strings of HDF5 may claim any length", "files/foreign/hdf5_heap.py", "require_unfolding(file.size, int(lengths.sum(dtype=np.uint64)), dataset.name)", "pass", "test_reading.py -k share_one_piece"),
    Fault("errors of other libraries get out", "files/npz.py", "    except Exception as error:\n        if isinstance(error, OSError) and error.filename is not None:\n            raise\n        raise unreadable", "    except ValueError as error:\n        raise unreadable", "test_fuzz.py"),
    Fault("links to other files are followed", "files/foreign/hdf5.py", "isinstance(link, self._h5py.ExternalLink) and not self._follow", "False", "test_reading.py -k links"),
    Fault("compressed and nested shards are left out", "files/foreign/shards.py", "        _refuse_hard_to_see(path)\n", "        pass\n", "test_reading.py -k left_out"),
    Fault("a model may be called .pt", "cli/output_names.py", "if suffix in KNOWN and kind_by_name(path) not in formats:", "if False:", "test_cli.py -k never_lies"),
    Fault("one of two entries of ids is taken", "files/foreign/choose_array.py", "if len(usual) > 1:", "if False:", "test_ids.py -k two_entries"),
    Fault("shards are read in the order of their letters", "files/foreign/shards.py", "(int(part), \"\") if part.isdecimal() else (-1, part)", "(-1, part)", "test_reading.py -k shards"),
    Fault("the length of each row is not looked at", "files/foreign/ann_benchmarks.py", 'if (block["d"] != d).any():', "if False:", "test_formats.py -k lie_about_their"),
    Fault("numbers are rounded to what a format holds", "files/foreign/ann_benchmarks.py", "lost = ~(cast == block)", "lost = np.zeros(block.shape, bool)", "test_formats.py -k hold"),
    Fault("tensors may overlap", "files/foreign/safetensors.py", "start == end <= stop", "start <= stop", "test_formats.py -k hostile"),
    Fault("bfloat16 is the lower half", "files/foreign/safetensors.py", "astype(np.uint32) << 16", "astype(np.uint32)", "test_formats.py -k bfloat16"),
    Fault("what lies behind is not begun anew", "files/foreign/rows.py", "not 0 <= start - self._first < MAX_ROWS_AHEAD", "not -MAX_ROWS_AHEAD <= start - self._first < MAX_ROWS_AHEAD", "test_formats.py -k any_order"),
    Fault("a shorter row is not filled up", "codes.py", "if (lengths == k).all():", "if True:", "test_code_formats.py -k filled"),
    Fault("a file of codes may have fewer rows than it says", "files/foreign/codes.py", "if n != rows.n:", "if False:", "test_code_formats.py -k fewer_rows"),
    Fault("places of rows need not ascend", "files/foreign/codes.py", "or (np.diff(indptr) < 0).any()", "", "test_code_formats.py -k do_not_ascend"),
    Fault("ids are not those of the rows", "item_ids.py", "if len(array) != n:", "if len(array) < n:", "test_ids.py -k saved"),
    Fault("unsigned ids wrap around", "item_ids.py", "_reject_large(array > MAX_ID, array)", "pass", "test_ids.py -k saved"),
    Fault("times are taken for integers", "item_ids.py", "(bool, np.bool_, np.timedelta64)", "(bool, np.bool_)", "test_ids.py -k times"),
    Fault("lengths of ids may be negative", "files/id_members.py", "(lengths < 0).any() or", "", "test_ids.py -k lengths_and_bytes"),
    Fault("masks are dropped", "arrays.py", "if masked.any():", "if False:", "test_arrays_of_callers.py"),
    # weights of other programs
    Fault("the decoder's bias is left out", "files/weights/saelens.py", 'require_zeros(tensors, "b_dec", path)', "pass", "test_interchange.py -k mean_something"),
    Fault("any ReLU module is taken", "files/weights/sentence_transformers.py", "np.array_equal(array[::2], -array[1::2])", "True", "test_interchange.py -k mean_something"),
    Fault("latents are paired the other way round", "files/weights/sentence_transformers.py", "np.stack([rows, -rows], axis=1)", "np.stack([-rows, rows], axis=1)", "test_interchange.py -k 'exact and sentence'"),
    # tables and times
    Fault("a changed table is read on", "files/foreign/columns.py", "if self._n not in (None, rows):", "if False:", "test_columns.py -k changes_between"),
    Fault("a quote in TSV is never a letter", "files/foreign/csv_rows.py", "quoted = _is_whole(line, tabs + 1)", "quoted = True", "test_columns.py -k quotes_in_tsv"),
    Fault("the limit of csv stays raised", "files/foreign/csv_rows.py", "            csv.field_size_limit(before)", "            pass", "test_columns.py -k set_back"),
    Fault("a zone is added", "segments/times.py", "times -= np.array(", "times += np.array(", "test_times.py -k become_utc"),
    Fault("weeks begin on Thursday", "segments/times.py", '"week": ("D", 7, 3)', '"week": ("D", 7, 0)', "test_times.py -k partition"),
    # outputs, signals, and what others may read or write
    Fault("a temporary name is the number of the process", WRITE, "{os.urandom(16).hex()}", "{os.getpid():032x}", "test_writing.py -k threads_that"),
    Fault("a link is replaced", "files/output_target.py", "        if not at.is_symlink():\n", "        if True:\n", "test_writing.py -k 'its_name_leads and encode'"),
    Fault("the mode of an output is lost", WRITE, "                _copy_owner(file.fileno(), like)", "                pass", "test_writing.py -k 'its_name_leads and encode'"),
    Fault("a pipe is taken for a file", "files/output_target.py", "    if not stat.S_ISREG(before.st_mode):", "    if False:", "test_writing.py -k 'no_file_is_refused and encode'"),
    Fault("leftovers are swept at once", WRITE, "<= LEFT_OVER_SECONDS", "<= 0", "test_writing.py -k leftovers"),
    Fault("any old file is swept", WRITE, "facts.st_uid != user_id() or ", "", "test_writing.py -k leftovers"),
    Fault("a quiet command shows progress", "cli/terminal.py", "return not _QUIET and sys.stderr.isatty()", "return sys.stderr.isatty()", "test_terminal.py -k changes_nothing"),
    Fault("a table is aligned without room", "layout.py", "if room < max(longest, min(LEAST_TITLE, widths[0])):", "if room < 0:", "test_terminal.py -k table_fits"),
    Fault("an error of a part names a row of the part", "cli/progress.py", "else first + error.row", "else error.row", "test_terminal.py -k names_the_row"),
    Fault("a signal is raised in the middle of an import", "cli/interrupts.py", "        if _importing(frame) and ", "        if False and ", "test_interrupts.py -k disguise"),
    Fault("SIGTERM ends as Ctrl-C does", "cli/interrupts.py", "signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT", "signal.SIGINT", "test_interrupts.py -k go_on"),
    Fault("any signed code passes for a kernel", "backends/numba/jit.py", "place + payload", "payload", "test_kernel_cache.py -k stand_in"),
    Fault("others may know the key", "backends/numba/jit.py", "stat.S_IMODE(facts.st_mode) & 0o077", "stat.S_IMODE(facts.st_mode) & 0", "test_kernel_cache.py -k others_could_know"),
    Fault("a password is shown if its name is encoded", "redaction.py", "return SECRETS.search(unquote_plus(name))", "return SECRETS.search(name)", "test_stores.py -k no_password"),
    # segments
    Fault("texts in the report are not escaped", "page/markup.py", "escape(clean(str(part)[:LONGEST]), quote=False)", "clean(str(part)[:LONGEST])", "test_report.py -k never_become"),
    Fault("controls stay in texts", "page/text.py", "REMOVED.sub(\"\", text)", "text", "test_report.py -k is_obeyed"),
    Fault("what faded long ago is in no list", "segments/wording.py", ", *_others(facts, \"falling\", \"gone\")]", "]", "test_report.py -k in_one_list"),
    Fault("rows that were skipped do not count", "cli/segments_steps.py", 'item["row"] = int(items.rows[item["row"]])', "pass", "test_segments_command.py -k skipped"),
    Fault("texts of skipped rows are those of the next ones", "cli/segments_steps.py", "compress(self._texts, self._kept)", "iter(self._texts)", "test_segments_command.py -k skipped"),
    Fault("any number of bins is counted", "segments/counts.py", "if n_bins > MAX_BINS:", "if False:", "test_segments_command.py -k new_item"),
    Fault("windows inside have any length but 1", "segments/trends.py", "list[int](), 1\n", "list[int](), 2\n", "test_segments_command.py -k windows"),
    Fault("texts without words name segments", "segments/evidence.py", "if found.wordless == len(members.segments):", "if False:", "test_segments_command.py -k bad_tables"),
    # stores
    Fault("items are stored without their norms", "stores/stored_form.py", "codes.values / norms[:, None]", "codes.values", "test_stores.py -k memory"),
    Fault("what is written is written again", "stores/push.py", "store.scroll(rows, without=field)", "store.scroll(rows)", "test_stores.py -k memory"),
    Fault("codes of another model are added to", "stores/push.py", "if wrong := [*_different(", "if wrong := [] and [*_different(", "test_stores.py -k memory"),
    Fault("a field is made before the dimension is looked at", "stores/push.py", "as_embeddings(_first(store).x, name", "as_embeddings(_first(store).x[:, :0] + 1 if False else np.ones((1, model.params.d)), name", "test_stores.py -k memory"),
    Fault("engines get what they do not look at", "stores/contract.py", "Codes(vectors.indices, vectors.values, vectors.n_latents)", "pass", "test_stores.py -k memory"),
    Fault("negative products count as positive", "stores/query.py", "np.where(indices % 2, -values, values)", "values", "test_signs.py -k scores_of"),
]  # fmt: skip


# -- the "cuda" backend -----------------------------------------------------------------------------------------------

(
    CUDA_SUMS,
    CUDA_SELECT,
    CUDA_ENCODE,
    CUDA_PRODUCT,
    CUDA_PRODUCTS,
    CUDA_ROWS,
    CUDA_SEARCH,
    CUDA_MEMORY,
    CUDA_EMBEDDINGS,
) = (
    f"backends/cuda/{name}.py"
    for name in ("sums", "select", "encode", "product", "products", "rows", "search", "memory", "embeddings")
)
DEVICE = "backends/cuda/host.py"

CUDA_FAULTS = [  # their tests run where Numba simulates a GPU
    Fault("cuda: the fold adds neighbours", CUDA_SUMS, "terms[c] = terms[c] + terms[c + left]", "terms[c] = terms[2 * c] + terms[2 * c + 1]", "test_backends.py -k all_pairs"),
    Fault("cuda: threads before this one are not counted", CUDA_SUMS, "for thread in range(me):", "for thread in range(1, me):", "test_backends.py -k test_selection"),
    Fault("cuda: a thread does not wait for the others", CUDA_SUMS, "    cuda.syncthreads()  # before another thread overwrites the counts", "    if cuda.threadIdx.x:\n        cuda.syncthreads()", "test_backends.py -k test_selection"),
    Fault("cuda: all that are tied are kept", CUDA_SELECT, "free = k - block_sum(above, room)", "free = k", "test_backends.py -k test_selection"),
    Fault("cuda: the lowest bit is not looked at", CUDA_SELECT, "for step in range(8 * keys.itemsize):", "for step in range(8 * keys.itemsize - 1):", "test_backends.py -k last_bits"),
    Fault("cuda: of ties the first is lost", CUDA_SELECT, "ranks[rank_row, i] < trial)", "ranks[rank_row, i] <= trial)", "test_backends.py -k test_selection"),
    Fault("cuda: the bias is added twice", CUDA_ENCODE, "pre[i, t] + b[latents[i, t]]", "pre[i, t] + b[latents[i, t]] + b[latents[i, t]]", "test_backends.py -k test_encoding"),
    Fault("cuda: −0 is stored", CUDA_ENCODE, "stored(pre[i, t] + b[latents[i, t]], pre.dtype.type(0))", "pre[i, t] + b[latents[i, t]]", "test_backends.py -k minus_zero"),
    Fault("cuda: the first guess is believed", CUDA_ENCODE, "(left_out + bound < kept).all()", "(left_out - 9 < kept).all()", "test_cuda.py -k looked_at"),
    Fault("cuda: the bound is forgotten", CUDA_ENCODE, "left_out + bound < kept", "left_out <= kept", "test_cuda.py -k off_by_its_bound"),
    Fault("cuda: tiles reach beyond the rows", CUDA_PRODUCT, "b[j, c] if j < h and c < d else", "b[j, c] if j < h + 1 and c < d else", "test_cuda.py -k within_its_bound"),
    Fault("cuda: TF32 is taken for exact", CUDA_PRODUCT, "\"CUPY_TF32\", ", "", "test_cuda.py -k library"),
    Fault("cuda: the rest is added first", CUDA_PRODUCTS, "base[i, c] + total if", "total if", "test_backends.py -k decoding"),
    Fault("cuda: rows come in another order", CUDA_PRODUCTS, "before[chunk, j] += 1", "before[chunk, j] += 0", "test_backends.py -k add_up"),
    Fault("cuda: what was there is added, though it counts no more", CUDA_PRODUCTS, "total = out[j, c] if add else", "total = out[j, c] if add >= 0 else", "test_backends.py -k add_up"),
    Fault("cuda: the gradient is not that of both", CUDA_ROWS, "scale_k, x_hat_k[i, c]) + aux", "scale_k, x_hat_k[i, c])", "test_backends.py -k test_rows"),
    Fault("cuda: the second moment is not of squares", "backends/cuda/adam.py", "rest2, mul_rounded(grad[i], grad[i]), tiny", "rest2, grad[i], tiny", "test_backends.py -k test_adam"),
    Fault("cuda: what is not allowed is found", CUDA_SEARCH, "if allowed[i] else keys.dtype.type(0)", "if allowed[i] < 2 else keys.dtype.type(0)", "test_best_items.py -k sort"),
    Fault("cuda: negative scores are the best", CUDA_SEARCH, "key = ~bits if bits & sign else bits | sign", "key = bits", "test_best_items.py -k sort"),
    Fault("cuda: −0 is less than +0", CUDA_SEARCH, "(sign if zero else key)", "key", "test_cuda.py -k minus_zero"),
    Fault("cuda: tiles know their own numbers alone", CUDA_SEARCH, "ids[q, entry] = tile * ranks.shape[1] + i", "ids[q, entry] = i", "test_best_items.py -k many_items"),
    Fault("cuda: no memory is the end", CUDA_MEMORY, "if part.stop - part.start <= 1:", "if part.stop - part.start <= 99:", "test_cuda.py -k memory_runs_out"),
    Fault("cuda: in a smaller block rows are left out", CUDA_MEMORY, "        size = size if done is not None else size // 2", "        start, size = (start, size) if done is not None else (start + 1, size // 2)", "test_cuda.py -k memory_runs_out"),
    Fault("cuda: an infinite row passes", CUDA_EMBEDDINGS, "finite = finite and math.isfinite(x[i, c])", "finite = finite and x[i, c] == x[i, c]", "test_cuda.py -k 'bad_rows and infinite'"),
    Fault("cuda: parameters are copied again and again", DEVICE, "    return _PLACED[params]", "    return params.map(place)", "test_cuda.py -k copied_to_the_device_once"),
    Fault("cuda: the processor is asked instead", "backends/__init__.py", "if backend == \"cuda\" and (missing := what_cuda_lacks()):", "if backend == \"cuda\" and (missing := \"\"):", "test_backends.py -k says_what_it_lacks"),
]  # fmt: skip

COMPILED_FAULTS = [  # the tests of these look at what the CUDA compiler makes
    Fault("cuda: products are fused with sums", "backends/cuda/rules.py", "return lambda a, b: rounded(a, b)", "return lambda a, b: a * b", "test_cuda_compile.py -k rounded_one_by_one"),
    Fault("cuda: float32 is widened", CUDA_ROWS, "norm = sqrt_rounded(fold_dot(W_dec, row, W_dec, row, terms), W_dec.dtype.type(0))", "norm = sqrt_rounded(fold_dot(W_dec, row, W_dec, row, terms), 0.0)", "test_cuda_compile.py -k widened"),
    Fault("cuda: room is shared by a piece", CUDA_SUMS, "    room[cuda.threadIdx.x] = count\n", "    room = cuda.shared.array(128, room.dtype)\n    room[cuda.threadIdx.x] = count\n", "test_cuda_compile.py -k both_generations"),
]  # fmt: skip
