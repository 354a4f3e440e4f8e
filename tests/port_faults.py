"""One-line faults in the ports, at least one per rule, with the flag whose tests must catch each of them."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """Replace ``old`` by ``new``: the tests with this flag must fail, and the report must contain ``told``."""

    what: str
    rule: str
    old: str
    new: str
    flag: str
    """file: flag"""
    told: str


JS_FAULTS = [
    Fault("ties go to the higher index", "R1", "keys[j] - keys[i] || i - j", "keys[j] - keys[i] || j - i", "abs_topk: TieAtBoundary", "the lower index is kept (R1)"),
    Fault("the largest values are kept", "R1", "descending(values.map(Math.abs))", "descending(values)", "abs_topk: Magnitude", "the magnitude decides, not the value (R1)"),
    Fault("−0 is stored", "R2", "pre.map((a) => a + 0)", "pre", "abs_topk: MinusZero", "−0 is stored as +0 (R2)"),
    Fault("entries come by descending magnitude", "R2", "part.sort((s, t) => s - t)", "part", "abs_topk: AscendingIndex", "which are not in ascending order (R2)"),
    Fault("a row that is not finite is another kind of error", "R3", '"R3: a row is not finite", "DomainError"', '"R3: a row is not finite", "FormatError"', "normalize_rows: NotFinite", "expected DomainError in row 1, got FormatError"),
    Fault("rows are counted from one", "R3", '"DomainError", i);\nconst unitRows', '"DomainError", i + 1);\nconst unitRows', "normalize_rows: FirstBadRow", "in row"),
    Fault("a zero row is not refused", "R4", 'demand(largest > 0, "R4: a zero row", "DomainError", i);', "if (largest === 0) return x;", "normalize_rows: ZeroRow", "a zero row is not refused"),
    Fault("an empty code is that of the bias", "R4", "absTopk(zerosLike(b_enc), k)", "absTopk(b_enc, k)", "encode: ZeroRowEmpty", "a zero row gets the code of the bias"),
    Fault("k_aux may exceed h", "R5", "Math.min(4 * k, b_enc.length)", "4 * k", "gradients: KAuxAtMostH", "4k > h is refused"),
    Fault("norms of codes are not clamped", "R6", "r(sum + r(v * v)), 0))), r(1e-8))", "r(sum + r(v * v)), 0))), 0)", "sparse_search: Clamp", "norms are not clamped at 1e-8"),
    Fault("norms of rows are not clamped", "R6", "Math.max(norm(a, r), r(1e-8))", "norm(a, r)", "reconstructed_search: ZeroCode", "a code of zeros has the score NaN"),
    Fault("a ReLU in the gradient", "R7", "indices.map((j) => dot(grad_x_hat, W_dec[j], r))", "indices.map((j, t) => values[t] > 0 ? dot(grad_x_hat, W_dec[j], r) : 0)", "gradients: NegativeValues", "NegativeValues"),
    Fault("ε inside the root", "R8", "r(r(Math.sqrt(r(new_v / correction2))) + eps)", "r(Math.sqrt(r(r(new_v / correction2) + eps)))", "adam: EpsOutsideRoot", "ε stands inside the root"),
    Fault("atoms stay as the step left them", "R8", 'if (order !== "before_step") makeUnit();', "", "train_steps: AfterStep", "first difference in W_dec:"),
    Fault("the fan-in is d", "R9", "uniform(u_enc, u_dec.length)", "uniform(u_enc, u_enc.length)", "init_params: FanIn", "W_enc is uniform within ±√(6/d)"),
    Fault("the worst items come first", "R10", "descending(scores).slice(0, top)", "descending(scores.map((s) => -s)).slice(0, top)", "sparse_search: BestFirst", "ids: expected"),
    Fault("top = 0 finds nothing", "R10", "demand(top >= 1,", "demand(top >= 0,", "sparse_search: TopZero", "top = 0 is not refused"),
    Fault("precisions are mixed", "R11", "{ float32: /^<f4$/, float64: /^<f8$/ }[dtype]", "/^<f[48]$/", "model_files: MixedPrecision", "one array may be float64"),
    Fault("the CRC is not looked at", "R12", " && crc32(content) === u32(at + 16)", "", "model_files: AlteredByte", "the CRC of a member is not looked at"),
    Fault("the digest is not looked at", "R12", " && digest === digestOf(arrays)", "", "model_files: Digest", "the digest is not looked at"),
    Fault("codes of two models are compared", "R13", "!model || !query_model || model === query_model", "true", "sparse_search: OtherModel", "codes of another model are compared"),
    Fault("sums run from left to right", "E1", "half > 8 && Number.isInteger(half)", "false", "normalize_rows: Fold", "within the bound"),
    Fault("the numbers are not rounded", "E2", '"<f4": Math.fround,', '"<f4": (value) => value,', "encode: InDouble", "within the bound"),
    Fault("the auxiliary loss has weight one", "E13", "* 0.125", "* 1", "gradients: AuxWeight", "the auxiliary loss does not have the weight 1/8"),
]  # fmt: skip

C_FAULTS = [
    Fault("the largest values are kept", "R1", "return bits & ~((BITS)1 << (8 * sizeof bits - 1));", "return bits >> (8 * sizeof bits - 1) ? ~bits : bits | (BITS)1 << (8 * sizeof bits - 1);", "abs_topk: Magnitude", "the magnitude decides, not the value (R1)"),
    Fault("−0 is stored", "R2", "values[t++] = pre[j] + (REAL)0;", "values[t++] = pre[j];", "abs_topk: MinusZero", "−0 is stored as +0 (R2)"),
    Fault("a zero row gets zeros unasked", "R4", "if (!(flags & CSAE_EMPTY_ZERO_ROWS) && is_zero_row(x, i))", "if (0)", "normalize_rows: ZeroRow", "expected DomainError in row 1, got outputs"),
    Fault("norms are not clamped", "R6", "return norm > (REAL)1e-8 ? norm : (REAL)1e-8;", "return norm;", "sparse_search: Clamp", "norms are not clamped at 1e-8"),
    Fault("equal items come by descending id", "R10", "best->ids[a] > best->ids[b]", "best->ids[a] < best->ids[b]", "sparse_search: ById", "ids: expected"),
    Fault("infinity in a file is read", "R3", "allowed &= isfinite(value) != 0;", "", "model_files: NotFinite", "expected FormatError, got outputs"),
    Fault("the CRC is not looked at", "R12", "if (check_crc && crc32(*found) != crc)", "if (0)", "model_files: AlteredByte", "the CRC of a member is not looked at"),
    Fault("the digest is not looked at", "R12", "if (is_string(o->meta, name, hex)) return CSAE_OK;", "return CSAE_OK;", "model_files: Digest", "the digest is not looked at"),
    Fault("codes of two models are compared", "R13", "|| strcmp(one, other) == 0)", "|| 1)", "sparse_search: OtherModel", "codes of another model are compared"),
    Fault("sums run from left to right", "E1", "for (; d > 16 && d % 2 == 0; d /= 2) F(add)", "for (; d > 16 && 0; d /= 2) F(add)", "normalize_rows: Fold", "within the bound"),
    Fault("sums of pre-activations run from left to right", "E1", "for (; left > 16 && left % 2 == 0; left /= 2)", "for (; left > 16 && 0; left /= 2)", "encode: Fold", "within the bound"),
    Fault("quarters are added in their order", "E1", "(i % 2 * 2 + i / 2) * quarter", "i * quarter", "encode: Fold", "within the bound"),
    Fault("bytes behind the last value are ignored", "R20", "get_bits(row, end, (unsigned)(8 * (uint64_t)width - end)) != 0", "0", "unpack: Padding", "expected FormatError in row"),
    Fault("the mean is not subtracted", "E26", "if (mean == NULL) return 0;", "return 0;", "center_rows: Mean", "x_unit"),
    Fault("atoms in the span are chosen", "R15", "if (!(new_p[c] > TOLERANCE * square)) continue;", "", "refine: SetAside", "expected outputs, got DomainError in row 0"),
]  # fmt: skip
