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
    Fault("ties go to the higher index", "R1", "Math.abs(values[s]) || s - t)", "Math.abs(values[s]) || t - s)", "abs_topk: TieAtBoundary", "the lower index is kept (R1)"),
    Fault("the largest values are kept", "R1", "Math.abs(values[t]) - Math.abs(values[s])", "values[t] - values[s]", "abs_topk: Magnitude", "the magnitude decides, not the value (R1)"),
    Fault("−0 is stored", "R2", "(t) => values[t] + 0)", "(t) => values[t])", "abs_topk: MinusZero", "−0 is stored as +0 (R2)"),
    Fault("entries come by descending magnitude", "R2", "Int32Array.from(order.slice(0, k)).sort()", "Int32Array.from(order.slice(0, k))", "abs_topk: AscendingIndex", "which are not in ascending order (R2)"),
    Fault("a row that is not finite is another kind of error", "R3", 'DomainError, "expected finite numbers', 'ShapeError, "expected finite numbers', "normalize_rows: NotFinite", "expected DomainError in row 1, got ShapeError"),
    Fault("rows are counted from one", "R3", '"expected finite numbers, got NaN or infinity", i)', '"expected finite numbers, got NaN or infinity", i + 1)', "normalize_rows: FirstBadRow", "in row"),
    Fault("a zero row is not refused", "R4", "  demand(largest > 0,", "  if (largest === 0) return unit;\n  demand(largest > 0,", "normalize_rows: ZeroRow", "a zero row is not refused"),
    Fault("an empty code is that of the bias", "R4", "x_unit ? code(x_unit, i) : emptyCode(k, this.Type)", "code(x_unit ?? new this.Type(this.d), i)", "encode: ZeroRowEmpty", "a zero row gets the code of the bias"),
    Fault("k_aux may exceed h", "R5", "Math.min(4 * k, encoder.h)", "4 * k", "gradients: KAuxAtMostH", "4k > h is refused"),
    Fault("norms of codes are not clamped", "R6", "Math.max(round(Math.sqrt(square)), round(1e-8))", "round(Math.sqrt(square))", "sparse_search: Clamp", "norms are not clamped at 1e-8"),
    Fault("norms of rows are not clamped", "R6", "Math.max(normOf(a, terms), roundingOf(a.constructor)(1e-8))", "normOf(a, terms)", "reconstructed_search: ZeroCode", "a code of zeros has the score NaN"),
    Fault("a ReLU in the gradient", "R7", "from(indices, gradOf)", "from(indices, (j, t) => (values[t] > 0 ? gradOf(j) : 0))", "gradients: NegativeValues", "NegativeValues"),
    Fault("ε inside the root", "R8", "round(Math.sqrt(round(value / correction2))) + eps", "Math.sqrt(round(round(value / correction2) + eps))", "adam: EpsOutsideRoot", "ε stands inside the root"),
    Fault("atoms stay as the step left them", "R8", 'if (order !== "before_step") params.W_dec = renormalize(params.W_dec, d);', "", "train_steps: AfterStep", "first difference in W_dec:"),
    Fault("the fan-in is d", "R9", "uniform(u_enc, h)", "uniform(u_enc, d)", "init_params: FanIn", "W_enc is uniform within ±√(6/d)"),
    Fault("the worst items come first", "R10", "(isWorse(i, j) ? 1 : -1)", "(isWorse(i, j) ? -1 : 1)", "sparse_search: BestFirst", "ids: expected"),
    Fault("equal items come by descending id", "R10", "scores[i] === scores[j] && i > j", "scores[i] === scores[j] && i < j", "asymmetric_search: ById", "ids: expected"),
    Fault("top = 0 finds nothing", "R10", "Number.isInteger(top) && top >= 1", "Number.isInteger(top) && top >= 0", "sparse_search: TopZero", "top = 0 is not refused"),
    Fault("Fortran order is read as C order", "R11", "header.includes(C_ORDER)", "true", "model_files: FortranOrder", "expected FormatError, got outputs"),
    Fault("the CRC is not looked at", "R12", "require(crc32(content) === crc,", "require(true,", "model_files: AlteredByte", "the CRC of a member is not looked at"),
    Fault("the digest is not looked at", "R12", "require(sha.digest() === expected,", "require(true,", "model_files: Digest", "the digest is not looked at"),
    Fault("codes of two models are compared", "R13", "!codes.model || !query_model || codes.model === query_model", "true", "sparse_search: OtherModel", "codes of another model are compared"),
    Fault("sums run from left to right", "E1", "while (n > 16 && n % 2 === 0)", "while (n < 0)", "normalize_rows: Fold", "within the bound"),
    Fault("the products are not rounded", "E2", "[new b_enc.constructor(d), new b_enc.constructor(d)]", "[new b_enc.constructor(d), new Float64Array(d)]", "encode: InDouble", "within the bound"),
    Fault("the auxiliary loss has weight one", "E13", "* round(auxWeight)", "* 1", "gradients: AuxWeight", "the auxiliary loss does not have the weight 1/8"),
    Fault("the largest correlation is tried", "R14", "Math.abs(r[i]) > Math.abs(r[best])", "r[i] > r[best]", "refine: Magnitude", "not the one of largest magnitude (Magnitude)"),
    Fault("an atom in the span of others is chosen", "R15", "continue; // R15", "void 0;", "refine: SetAside", "an atom in the span of the chosen ones is chosen, too (SetAside)"),
    Fault("missing entries are not filled", "R16", ".slice(0, k - chosen.length)", ".slice(0, 0)", "refine: Filled", "indices: expected I32 [8, 8], got I32 [8, 5]"),
    Fault("k may exceed the candidates", "R17", "requireK(k, widthOf(indices)); // R17", "", "refine: TooFew", "fewer candidates than k are not refused (TooFew)"),
    Fault("any number of bits is accepted", "R18", "[4, 5, 6, 8].includes(bits)", "bits > 0", "pack: Bits", "other numbers of bits are not refused (Bits)"),
    Fault("values are read at the low end", "E25", "(number % levels) + 0.5", "number % levels", "unpack: Half", "the lower end of their step (Half)"),
    Fault("a zero row is a FormatError", "R19", "ones === 0 && this.#isZero(data, start)", "false", "unpack: ZeroRow", "a row of zero bytes is refused"),
    Fault("padding is not looked at", "R20", "rowBits % 8 && data[start + rowBytes - 1] >> rowBits % 8", "false", "unpack: Padding", "bits behind the last value are not looked at (Padding)"),
    Fault("a long mean is accepted", "R21", "square <= 1 - 2 ** -16", "true", "center_rows: Norm", "a mean whose norm is 1 is not refused (Norm)"),
]  # fmt: skip

C_FAULTS = [
    Fault("the largest values are kept", "R1", "return bits & ~((BITS)1 << (8 * sizeof bits - 1));", "return bits >> (8 * sizeof bits - 1) ? ~bits : bits | (BITS)1 << (8 * sizeof bits - 1);", "abs_topk: Magnitude", "the magnitude decides, not the value (R1)"),
    Fault("−0 is stored", "R2", "values[t++] = pre[j] + (REAL)0;", "values[t++] = pre[j];", "abs_topk: MinusZero", "−0 is stored as +0 (R2)"),
    Fault("a zero row gets zeros unasked", "R4", "if (!may_be_zero && is_zero_row(x, i))", "if (0)", "normalize_rows: ZeroRow", "expected DomainError in row 1, got outputs"),
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
