"""Packed codes: nothing is lost but what the bits say; whatever bytes are read, packing gives them again."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressae_ref import (
    Codes,
    DomainError,
    FormatError,
    PackedCodes,
    ShapeError,
    load_codes,
    load_packed,
    pack,
    save_codes,
    save_packed,
)
from compressae_ref.backends.numpy import bit_packing
from tests import strategies as draw
from tests.bounds import assert_same_bits, assert_same_codes
from tests.conftest import KERNELS_IN_THREADS, kernels_in_threads

bits_of_values = st.sampled_from(bit_packing.BITS)


@pytest.fixture(scope="module", params=KERNELS_IN_THREADS)
def backend(request):
    with kernels_in_threads(request.param) as kernels, pytest.MonkeyPatch.context() as patch:
        patch.setattr(bit_packing, "ROWS_AT_ONCE", 3)
        yield kernels


@given(codes=draw.codes(n=st.integers(0, 12)), bits=bits_of_values)
def test_what_is_read_back(backend, codes, bits):
    """The latents, and each value to half a step of the row's largest; rows of zeros are zeros."""
    packed = pack(codes, bits, backend=backend)
    read = packed.unpack(backend=backend)
    Codes(read.indices, read.values, read.n_latents)  # as every code
    largest = np.abs(codes.values).max(axis=1, keepdims=True, initial=0)
    zero = largest[:, 0] == 0
    assert_same_bits(read.indices[~zero], codes.indices[~zero])
    assert (read.indices[zero] == np.arange(codes.k)).all()
    assert not read.values[zero].any()
    share = codes.values[~zero].astype(np.float64) / largest[~zero]
    assert (np.abs(read.values[~zero] - share) <= 0.5 / 2 ** (bits - 1) + 1e-6).all()
    assert ((read.values[~zero] < 0) == (codes.values[~zero] < 0)).all()


@given(codes=draw.codes(n=st.integers(0, 12)), bits=bits_of_values, data=st.data())
def test_packing_again_changes_no_byte_and_backends_agree(backend, codes, bits, data):
    packed = pack(codes, bits, backend=backend)
    assert packed.data.shape == (len(codes), packed.bytes_per_item)
    assert_same_bits(packed.data, bit_packing.pack_rows(codes, bits))
    read = packed.unpack(backend=backend)
    assert_same_codes(read, packed.unpack(backend="numpy"))
    assert_same_bits(pack(read, bits).data, packed.data)
    if len(codes):
        rows = np.array(data.draw(st.lists(st.integers(0, len(codes) - 1), min_size=1, max_size=5)))
        assert_same_codes(packed[rows].unpack(backend=backend), read[rows])
        assert_same_codes(packed[int(rows[0])].unpack(backend=backend), read[int(rows[0])])


@given(codes=draw.codes(n=st.integers(1, 12)), bits=bits_of_values, rng=draw.generators())
def test_of_any_bytes_those_that_are_read_are_given_again(backend, codes, bits, rng):
    """A bit changed, or bytes of any kind: an error that names the first bad row, or the code with these bytes."""
    packed = pack(codes, bits)
    data = packed.data.copy()
    if rng.random() < 0.3:
        data = rng.integers(0, 256, data.shape, np.uint8)
    else:
        data[rng.integers(len(data)), rng.integers(data.shape[1])] ^= 1 << int(rng.integers(8))
    changed = PackedCodes(data, codes.n_latents, codes.k, bits)
    try:
        read = changed.unpack(backend=backend)
    except FormatError as error:
        row = int(str(error).rpartition(" ")[2])
        with pytest.raises(FormatError, match=f"in row {row}$"):
            changed.unpack(backend="numpy")
        changed[:row].unpack(backend=backend)
    else:
        Codes(read.indices, read.values, read.n_latents)
        assert_same_bits(pack(read, bits).data, data)


def test_a_changed_bit_is_read_or_refused_by_every_backend_alike(backend):
    """One of these changes makes the first two latents equal, which share their higher bits."""
    data = pack(Codes([[6, 7, 8]], [[1.0, -2.0, 3.0]], 40), 4).data
    refused = 0
    for bit in range(8 * data.size):
        changed = data.copy()
        changed[0, bit // 8] ^= 1 << bit % 8
        packed = PackedCodes(changed, 40, 3, 4)
        try:
            read = packed.unpack(backend="numpy")
        except FormatError as error:
            refused += 1
            with pytest.raises(FormatError, match=f"^{re.escape(str(error))}$"):
                packed.unpack(backend=backend)
        else:
            assert_same_codes(packed.unpack(backend=backend), read)
    assert refused > 3


@pytest.mark.parametrize(
    ("k", "bits", "size"), [(32, 4, 52), (32, 5, 56), (32, 6, 60), (32, 8, 68), (16, 5, 30), (64, 4, 96)]
)
def test_bytes_of_an_item(backend, k, bits, size):
    """At h 4096; the indices alone come close to what any code of all sets needs."""
    rng = np.random.default_rng(k)
    indices = np.sort(rng.random((300, 4096)).argsort(axis=1)[:, :k], axis=1)
    codes = Codes(indices, rng.standard_normal((300, k)).astype("f4"), 4096)
    packed = pack(codes, bits, backend=backend)
    assert packed.bytes_per_item == size
    assert_same_codes(packed.unpack(backend=backend), packed.unpack(backend="numpy"))
    assert_same_bits(packed.unpack(backend=backend).indices, codes.indices)


@given(draw.codes(n=st.integers(0, 9)), bits_of_values, st.sampled_from([None, "0" * 64]))
def test_files(tmp_path_factory, codes, bits, model):
    path = tmp_path_factory.mktemp("packed") / "packed.npz"
    packed = pack(Codes(codes.indices, codes.values, codes.n_latents, model), bits)
    save_packed(path, packed)
    loaded = load_packed(path)
    assert_same_bits(loaded.data, packed.data)
    assert (loaded.n_latents, loaded.k, loaded.bits, loaded.model) == (codes.n_latents, codes.k, bits, model)
    assert_same_codes(load_codes(path), packed.unpack())
    first = path.read_bytes()
    save_packed(path, loaded)
    assert path.read_bytes() == first


def test_every_bit_of_a_file_counts(tmp_path):
    codes = Codes([[0, 2], [1, 3]], np.array([[1, -2], [3, 4]], "f4"), 5)
    path = tmp_path / "packed.npz"
    save_packed(path, pack(codes))
    whole, right = path.read_bytes(), load_codes(path)
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        try:
            read = load_codes(path)
        except FormatError:
            continue
        assert_same_codes(read, right)
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at])
        with pytest.raises(FormatError):
            load_packed(path)


def test_a_file_with_other_bytes_is_refused(tmp_path):
    path = tmp_path / "packed.npz"
    packed = pack(Codes([[0, 2], [1, 3]], np.ones((2, 2), "f4"), 5))
    packed.data[1] = 255
    save_packed(path, packed)
    for load in (load_packed, load_codes):
        with pytest.raises(FormatError, match=r"packed\.npz: .*got bytes that packing cannot produce in row 1$"):
            load(path)


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "codes.npz"
    save_codes(path, Codes([[0, 2]], np.ones((1, 2), "f4"), 5))
    with pytest.raises(FormatError, match="expected packed codes, got codes"):
        load_packed(path)


def test_what_does_not_fit_is_refused():
    codes = Codes([[0, 2]], np.ones((1, 2), "f4"), 5)
    for bits in (3, 7, 5.5, True, None):
        with pytest.raises(DomainError, match="bits: expected one of 4, 5, 6, 8"):
            pack(codes, bits)
    with pytest.raises(ShapeError, match="expected uint8 rows of 2 bytes, got uint8 of shape"):
        PackedCodes(np.zeros((1, 9), np.uint8), 5, 2)
    with pytest.raises(DomainError, match="k from 1 to n_latents = 5, got 6"):
        PackedCodes(np.zeros((1, 9), np.uint8), 5, 6)
    assert "rows of 2 bytes, k 2 of 5" in repr(pack(codes))
