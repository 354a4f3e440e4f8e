"""Codes: invariants, interchange with SciPy, truncation, slicing and concatenation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import BackendError, Codes, DomainError, DTypeError, FormatError, ShapeError
from compressae_ref.backends.numpy.topk import abs_topk
from compressae_ref.checks import as_embeddings
from compressae_ref.codes import is_refined, refined_entry, require_even_rows
from tests import strategies as draw
from tests.bounds import assert_same_bits, assert_same_codes
from tests.conftest import OnADevice

sparse = pytest.importorskip("scipy.sparse")


@given(draw.codes())
def test_csr_round_trip_is_exact(codes):
    csr = codes.to_csr()
    assert (csr.shape, csr.nnz) == (codes.shape, codes.indices.size)
    np.testing.assert_array_equal(csr.toarray(), codes.to_dense())
    assert_same_codes(Codes.from_csr(csr), codes)
    assert_same_codes(Codes.from_csr(sparse.csr_matrix(csr)), codes)


@given(draw.codes(n=st.integers(0, 5)))
def test_split_signs_keeps_every_value_and_has_no_negative_one(codes):
    dense, split = codes.to_dense(), codes.split_signs()
    assert (split.k, split.n_latents, split.model) == (codes.k, 2 * codes.n_latents, None)
    assert_same_bits(split.to_dense()[:, 0::2], np.maximum(dense, 0))
    assert_same_bits(split.to_dense()[:, 1::2], np.maximum(-dense, 0) + 0)
    positive = Codes(codes.indices, np.abs(codes.values), codes.n_latents)
    products = dense[:, None, :] * dense
    np.testing.assert_allclose(
        split.to_dense() @ split.to_dense().T, np.maximum(products, 0).sum(axis=2), rtol=1e-5, atol=1e-30
    )
    assert_same_bits(positive.split_signs().indices, 2 * positive.indices)


@given(draw.codes(), st.data())
def test_csr_rows_of_any_length_are_filled_with_stored_zeros(codes, data):
    dense = codes.to_dense()
    longest = max(int((dense != 0).sum(1).max()), 1)
    k = data.draw(st.integers(longest, codes.n_latents))
    filled = Codes.from_csr(sparse.csr_array(dense), k)
    assert filled.k == k
    np.testing.assert_array_equal(filled.to_dense(), dense)
    shuffled = sparse.coo_array(dense).tocsc()
    assert_same_codes(Codes.from_csr(shuffled, k), filled)


def test_from_csr_takes_the_lowest_free_latents():
    codes = Codes.from_csr(sparse.csr_array(np.array([[0.0, 5, 0, 0, 7], [1, 2, 3, 0, 0]])))
    assert codes.indices.tolist() == [[0, 1, 4], [0, 1, 2]]
    assert codes.values.tolist() == [[0, 5, 7], [1, 2, 3]]


def test_from_csr_refuses_rows_that_are_too_long():
    with pytest.raises(ShapeError, match=r"at most k = 1 stored entries per row, got 2 in row 1"):
        Codes.from_csr(sparse.csr_array(np.array([[0.0, 5], [1, 2]])), k=1)
    with pytest.raises(DomainError, match=r"k of at most h = 2, got k = 3"):
        Codes.from_csr(sparse.csr_array(np.array([[0.0, 5], [1, 2]])), k=3)


@given(draw.selections(), st.data())
def test_truncation_equals_encoding_with_that_k(selection, data):
    pre, k = selection
    smaller = data.draw(st.integers(1, k))
    assert_same_codes(abs_topk(pre, k).truncate(smaller), abs_topk(pre, smaller))


def test_truncation_breaks_ties_by_index_and_refuses_more_than_is_stored():
    codes = Codes([[1, 3, 5]], [[-2.0, 2.0, 1.0]], 9)
    assert codes.truncate(1).indices.tolist() == [[1]]
    assert codes.truncate(2).values.tolist() == [[-2, 2]]
    for k in (0, 4):
        with pytest.raises(DomainError, match=rf"expected k from 1 to 3 \(the stored entries\), got {k}"):
            codes.truncate(k)


@given(draw.codes(n=st.integers(2, 9)), st.data())
def test_rows_are_taken_and_put_together_again(codes, data):
    cut = data.draw(st.integers(0, len(codes)))
    assert_same_codes(Codes.concatenate([codes[:cut], codes[cut:]]), codes)
    rows = data.draw(st.lists(st.integers(0, len(codes) - 1)))
    np.testing.assert_array_equal(codes[rows].to_dense() if rows else codes[:0].to_dense(), codes.to_dense()[rows])
    assert_same_codes(codes[-1], codes[len(codes) - 1 :])
    assert_same_codes(codes[np.arange(len(codes)) % 2 == 0], codes[::2])


def test_a_row_that_is_not_there():
    with pytest.raises(IndexError):
        Codes([[0]], [[1.0]], 2)[1]


def test_codes_that_do_not_fit_are_not_put_together():
    first = Codes([[0]], [[1.0]], 2, "a")
    for other in (Codes([[0]], [[1.0]], 3, "a"), Codes([[0, 1]], [[1.0, 2.0]], 2, "a"), Codes([[0]], [[1.0]], 2, "b")):
        with pytest.raises(ShapeError, match="at position 1"):
            Codes.concatenate([first, other])
    with pytest.raises(ShapeError, match="at least one"):
        Codes.concatenate([])


@pytest.mark.parametrize(
    ("indices", "values", "n_latents", "error", "message"),
    [
        ([[0, 0]], [[1.0, 2]], 3, DomainError, "ascend strictly.*row 0"),
        ([[0, 1], [1, 0]], [[1.0, 2]] * 2, 3, DomainError, "ascend strictly.*row 1"),
        ([[0, 3]], [[1.0, 2]], 3, DomainError, "indices below n_latents = 3"),
        ([[-1, 1]], [[1.0, 2]], 3, DomainError, "indices from 0"),
        ([[2**31]], [[1.0]], 2**32, DomainError, "2\\*\\*31"),
        ([[0, 1]], [[1.0, np.nan]], 3, DomainError, "finite values.*row 0"),
        ([[0, 1]], [[1.0]], 3, ShapeError, r"one shape \(n, k\)"),
        ([0, 1], [1.0, 2.0], 3, ShapeError, r"one shape \(n, k\)"),
        ([[0, 1]], [[1.0, 2]], 1, ShapeError, "k from 1 to n_latents = 1"),
        ([[0.0]], [[1.0]], 1, DTypeError, "integer indices, got float64"),
        ([[0]], [[1]], 1, DTypeError, "float64 values, got int64"),
        ([[], []], [[], []], 3, DTypeError, "integer indices"),
        (np.zeros((2, 0), int), np.zeros((2, 0)), 3, ShapeError, "k from 1 to n_latents = 3"),
        ([[0]], [[1.0]], 1.0, DomainError, "n_latents: expected an integer"),
    ],
)
def test_what_codes_refuse(indices, values, n_latents, error, message):
    with pytest.raises(error, match=message):
        Codes(np.array(indices), np.array(values), n_latents)


def test_half_precision_values_become_single():
    assert Codes(np.array([[0]]), np.array([[1]], np.float16), 1).values.dtype == np.float32


def test_minus_zero_is_stored_as_plus_zero():
    values = Codes(np.array([[0, 1]]), np.array([[-0.0, 1]]), 4).values
    assert not np.signbit(values).any()


def test_n_latents_becomes_a_plain_number():
    assert type(Codes(np.array([[0]]), np.array([[1.0]]), np.int64(4)).n_latents) is int


@pytest.mark.parametrize("rows", [(slice(None), slice(2)), None, (slice(2), 1), np.array([[0, 1]])])
def test_slicing_is_by_rows_alone(rows):
    with pytest.raises(ShapeError, match="a slice, an array of row numbers or a mask"):
        Codes(np.array([[0, 1]] * 3), np.ones((3, 2)), 4)[rows]


@pytest.mark.parametrize("k", [2.5, True, "1"])
def test_truncation_needs_a_whole_number(k):
    with pytest.raises(DomainError, match="truncate: expected k from 1 to 2"):
        Codes(np.array([[0, 1]]), np.ones((1, 2)), 4).truncate(k)


def test_from_csr_adds_up_repeated_entries_and_leaves_its_argument_alone():
    repeated = sparse.csr_array((np.array([1.0, 2.0, 5.0]), np.array([3, 3, 0]), np.array([0, 3])), shape=(1, 4))
    codes = Codes.from_csr(repeated)
    assert (codes.indices.tolist(), codes.values.tolist()) == ([[0, 3]], [[5, 3]])
    assert repeated.data.tolist() == [1, 2, 5]
    assert repeated.indices.tolist() == [3, 3, 0]


def test_from_csr_of_no_entries_stores_one_zero_a_row():
    assert Codes.from_csr(sparse.csr_array((2, 3), dtype=np.float32)).indices.tolist() == [[0], [0]]
    assert Codes.from_csr(sparse.csr_array((0, 3), dtype=np.float32)).shape == (0, 3)


def test_from_csr_refuses_latents_and_k_beyond_the_columns_not_the_rows():
    beyond = sparse.csr_array((np.array([1.0]), np.array([2]), np.array([0, 1, 1, 1])), shape=(3, 2))
    with pytest.raises(FormatError, match=r"expected a valid sparse matrix, got one whose .*indices"):
        Codes.from_csr(beyond)
    with pytest.raises(DomainError, match="k of at most h = 2, got k = 3"):
        Codes.from_csr(sparse.csr_array((5, 2)), k=3)
    assert Codes.from_csr(sparse.csr_array((1, 3), dtype=np.float32), k=3).k == 3


def test_astype_converts_and_does_nothing_where_nothing_is_to_do():
    codes = Codes([[0, 2]], np.float32([[0.1, 1]]), 3, "m")
    assert codes.astype(np.float32) is codes
    wide = codes.astype(np.float64)
    assert (wide.values.dtype, wide.values.tolist(), wide.model) == (np.float64, codes.values.tolist(), "m")


def test_the_largest_numbers_of_latents():
    assert Codes([[2**31 - 1]], [[1.0]], 2**31).shape == (1, 2**31)
    assert Codes([[0]], [[1.0]], 2**63 - 1).n_latents == 2**63 - 1
    with pytest.raises(DomainError, match="n_latents"):
        Codes([[0]], [[1.0]], 2**63)


def test_how_codes_are_shown():
    assert repr(Codes([[0]], [[1.0]], 2)) == "Codes(1 rows, k 1 of 2 latents, float64)"
    assert repr(Codes([[0]], [[1.0]], 2, "0123456789abcdef")) == (
        "Codes(1 rows, k 1 of 2 latents, float64, model 0123456789ab)"
    )


@pytest.mark.parametrize("dtype", draw.DTYPES)
def test_codes_of_no_rows_change_nothing_beside_others(dtype):
    codes, none = Codes(np.array([[0, 2]]), np.array([[1.5, -2]], dtype), 3), Codes.none(2, 3, dtype)
    assert (none.shape, none.k, none.values.dtype) == ((0, 3), 2, dtype)
    assert_same_codes(Codes.concatenate([none, codes, none]), codes)


def test_arrays_on_a_device_are_refused_where_they_cannot_be_read():
    x = np.ones((3, 2), np.float32).view(OnADevice)
    with pytest.raises(
        BackendError, match=r"^x: expected an array in the computer's memory, got one on a CUDA device$"
    ):
        as_embeddings(x)


# -- sparse matrices that say what is not so --------------------------------------------------------------------------


def fault_of(matrix):
    """What is wrong with offsets and indices, by plain Python, or None."""
    height, width = getattr(matrix, "blocksize", (1, 1))
    rows, columns = matrix.shape[::-1] if matrix.format == "csc" else matrix.shape
    offsets, stored = matrix.indptr.tolist(), len(matrix.data)
    if len(matrix.indices) != stored:
        return f"of {len(matrix.indices)} indices with {stored} values$"
    if [len(offsets), offsets[0]] != [rows // height + 1, 0] or offsets != sorted(offsets) or offsets[-1] > stored:
        return f"whose row offsets do not ascend from 0 to {stored}$"
    if not all(0 <= index < columns // width for index in matrix.indices[: offsets[-1]].tolist()):
        return f"whose indices are not from 0 to {columns // width - 1}$"
    return None


def changed_matrices(form):
    """Matrices of which one array has another number, or is shorter or longer."""
    dense = np.random.default_rng(0).choice(np.float32([0, 0, 0, 1, 2]), (24, 36))
    for part, change in product(("indptr", "indices", "data"), ("no", "number", "shorter", "longer")):
        whole = sparse.bsr_array(dense, blocksize=(4, 3)) if form == "bsr" else sparse.csr_array(dense).asformat(form)
        array = getattr(whole, part)
        near = {-(2**20), -1, 0, 1, 2**20, *(n + more for n in (12, 24, 36, len(whole.data)) for more in (-1, 0, 1))}
        numbers = product((0, len(array) // 2, -1), near) if change == "number" and part != "data" else [(0, array[0])]
        for place, number in numbers:
            matrix = whole.copy()
            getattr(matrix, part)[place] = number
            if change in ("shorter", "longer"):
                setattr(matrix, part, array[:-1] if change == "shorter" else np.concatenate([array, array[-1:]]))
            yield matrix


@pytest.mark.parametrize("form", ["csr", "csc", "bsr"])
def test_entries_of_a_matrix_are_checked_before_compiled_code_uses_them(form):
    for matrix in changed_matrices(form):
        fault = fault_of(matrix)
        if fault is None:
            codes = Codes.from_csr(matrix)
            Codes(codes.indices, codes.values, codes.n_latents)  # its own checks
        else:
            with pytest.raises(FormatError, match=f"codes: expected a valid sparse matrix, got one {fault}"):
                Codes.from_csr(matrix)


@pytest.mark.parametrize("dtype", ["?", "i1", "i8", "u8", "c8", "g"])
def test_from_csr_refuses_what_is_no_float(dtype):
    with pytest.raises(DTypeError, match=r"^codes: "):
        Codes.from_csr(sparse.csr_array(np.eye(3).astype(dtype)))


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(-1, 2))
def test_rows_are_filled_up_if_that_takes_little_or_a_hundred_times_what_they_take(n, entries, more):
    longest = max(2**20, 100 * (entries + n)) // n + more
    megabytes = f"{8 * n * longest / 2**20:,.0f} MB"
    if n * longest <= max(2**20, 100 * (entries + n)):
        require_even_rows(n, longest, entries)
    else:
        says = f"codes: .*one of {longest} entries among {n} rows with {entries} in total; .* they take {megabytes}: "
        with pytest.raises(ShapeError, match=says):
            require_even_rows(n, longest, entries)


def test_uneven_rows_are_refused_unless_k_says_how_long_they_shall_be():
    n, longest = 5000, 300
    uneven = sparse.csr_array((np.ones(longest, "f4"), np.arange(longest), np.r_[0, np.full(n, longest)]))
    with pytest.raises(ShapeError, match="rows of about equal length, got one of 300 entries among 5000 rows"):
        Codes.from_csr(uneven)
    assert Codes.from_csr(uneven, longest).k == longest


def test_the_metadata_of_a_file_marks_refined_codes_alone():
    for refined in (True, False):
        codes = Codes.trusted(np.zeros((1, 1), np.int32), np.ones((1, 1)), 2, refined=refined)
        assert refined_entry(codes) == ({"refined": True} if refined else {})
        assert is_refined({"k": 1, **refined_entry(codes)}) is refined
    assert not is_refined({"refined": "yes"})
    assert not is_refined({"refined": False})
