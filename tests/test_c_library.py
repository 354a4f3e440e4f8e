"""The library in C: the same bits as the package, no allocation while it computes, and errors instead of crashes."""

from __future__ import annotations

import ctypes
import mmap
import platform
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import compressae_ref as csae
from compressae_ref import Codes, Model, Params, init_params
from tests.c_library import (
    EMPTY_ZERO_ROWS,
    ENCODER_ONLY,
    FLAGS,
    SOURCE,
    UNVERIFIED,
    CodeRows,
    Library,
    LibraryError,
    Rows,
    build,
    code_rows,
    rows,
)
from tests.small_files import small_file

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

D, H, K, N = 48, 300, 8, 60
"""48 = 12 · 2²: two halvings before the rest is added from left to right."""


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Library:
    return build(tmp_path_factory.mktemp("library"))


def model_of(d: int = D, h: int = H, k: int = K, dtype: str = "float32", centered: bool = False) -> Model:
    rng = np.random.default_rng(d * h)
    params = init_params(d, h, rng, init="original", dtype=dtype)
    b_enc = rng.normal(size=h).astype(dtype) / 50
    mean = (rng.normal(size=d) / (2 * np.sqrt(d))).astype(dtype) if centered else None
    return Model(Params(params.W_enc, b_enc, params.W_dec, mean), k)


def rows_of(d: int = D, n: int = N, dtype: str = "float32") -> np.ndarray:
    """Rows at many scales, with clusters so that scores differ."""
    rng = np.random.default_rng(n + d)
    x = rng.normal(size=(n, d)) + 2 * rng.normal(size=(1 + n // 8, d))[rng.integers(0, 1 + n // 8, n)]
    return (x * 10.0 ** rng.integers(-20, 18, (n, 1))).astype(dtype)


def assert_same_codes(ours: Codes, theirs: Codes) -> None:
    assert np.array_equal(ours.indices, theirs.indices)
    assert ours.values.tobytes() == theirs.values.astype(ours.values.dtype, copy=False).tobytes()


def saved(folder, model: Model):
    csae.save_model(folder / "model.npz", model)
    return folder / "model.npz"


# -- the same bits ----------------------------------------------------------------------------------------------------

SHAPES = [(7, 20, 3), (16, 16, 16), (17, 257, 5), (18, 40, 4), (34, 64, 8), (40, 513, 9), (64, 256, 8), (384, 1030, 32)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_codes_have_the_bits_of_the_package(shape, dtype, library, tmp_path):
    d, h, k = shape
    model = model_of(d, h, k, dtype)
    with library.open_model(saved(tmp_path, model)) as ours:
        assert ours.info.digest.decode() == model.digest
        for rows in ("float32", "float64"):
            x = rows_of(d, 20, rows)
            assert_same_codes(ours.encode(x), model.encode(x))


@pytest.mark.parametrize("weights", ["float32", "float16", "int8"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("only", [None, "encoder"])
def test_small_files_have_the_codes_of_their_decoded_weights(weights, centered, only, library, tmp_path):
    model = small_file(tmp_path / "small.npz", model_of(centered=centered), weights, only)
    x = rows_of()
    for flags in (0, UNVERIFIED, ENCODER_ONLY):
        with library.open_model(tmp_path / "small.npz", flags) as ours:
            assert ours.info.weights.decode() == weights
            assert ours.info.digest.decode() == model.digest
            assert ours.info.has_decoder == (only is None and flags != ENCODER_ONLY)
            assert_same_codes(ours.encode(x), model.encode(x))
            if ours.info.has_decoder:
                assert_same_codes(ours.refine(x[:9], K, 3 * K), csae.encode_refined(x[:9], model, K, 3 * K))


def test_all_numbers_of_float16_are_decoded(library, tmp_path):
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    W_enc = halves[np.isfinite(halves)].astype(np.float32).reshape(62, -1)
    params = model_of(62, W_enc.shape[1]).params
    model = small_file(tmp_path / "half.npz", Model(Params(W_enc, params.b_enc, params.W_dec), 9), "float16")
    assert np.array_equal(model.params.W_enc, W_enc)
    with library.open_model(tmp_path / "half.npz") as ours:  # the digest is that of the decoded weights
        assert_same_codes(ours.encode(rows_of(62, 9)), model.encode(rows_of(62, 9)))


def test_among_equal_latents_the_lower_ones_are_stored(library, tmp_path):
    p = model_of(h=40).params
    again = np.tile(np.arange(40), 8)
    twice = Params(np.ascontiguousarray(p.W_enc[:, again]), p.b_enc[again], np.ascontiguousarray(p.W_dec[again]))
    model = Model(twice, 13)
    with library.open_model(saved(tmp_path, model)) as ours:
        codes = ours.encode(rows_of())
        assert_same_codes(codes, model.encode(rows_of()))
        assert (codes.indices[:, 0] < 40).all()


def test_zero_rows_and_extreme_rows(library, tmp_path):
    model, x = model_of(), rows_of(n=8)
    tiny, huge = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max
    x[1], x[2], x[3, 1:], x[4], x[5] = 0, huge * np.sign(x[2]), 0, tiny * np.sign(x[4]), 0
    x[5, 7], x[6, 0] = -tiny, huge
    with library.open_model(saved(tmp_path, model)) as ours:
        assert_same_codes(ours.encode(x, flags=EMPTY_ZERO_ROWS), model.encode(x, zero_rows="empty"))
        assert np.array_equal(ours.unit_rows(x[2:]), csae.reference.unit_rows(x[2:], "float32"))
        with pytest.raises(LibraryError, match="zero row 1") as failure:
            ours.encode(x)
        assert (failure.value.status, failure.value.row) == ("Domain", 1)


# -- search -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("bits", [None, 4, 5, 6, 8])
def test_search_has_the_ids_and_bits_of_the_package(bits, centered, dtype, library, tmp_path):
    model, x, queries = model_of(dtype=dtype, centered=centered), rows_of(n=200), rows_of(n=6, dtype=dtype)
    x[150:] = x[:50]  # equal scores, of which the lower id comes first
    codes = csae.encode_refined(x, model)
    if bits is None:
        csae.save_codes(tmp_path / "codes.npz", codes)
    else:
        csae.save_packed(tmp_path / "codes.npz", csae.pack(codes, bits))
        codes = csae.load_packed(tmp_path / "codes.npz").unpack()
    with library.open_model(saved(tmp_path, model)) as ours, library.open_codes(tmp_path / "codes.npz") as items:
        assert (items.info.bits, items.info.n) == (bits or 0, 200)
        assert_same_codes(items.read(3, 190), codes[3:193])
        with library.make_index(ours, items, "asymmetric") as index:
            for top in (1, 9, 200, 1000):
                ids, scores = index.search(queries, top, dtype)
                expected = csae.search(queries, codes, top, space="asymmetric", model=model)
                assert np.array_equal(ids, expected.ids)
                assert scores.tobytes() == expected.scores.tobytes()


@pytest.fixture
def end_of_memory():
    """An address behind which nothing can be read: reading there ends the process."""
    page, libc = mmap.PAGESIZE, ctypes.CDLL(None)
    pages = mmap.mmap(-1, 2 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages)) + page
    assert libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(page), 0) == 0
    yield address
    libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(page), mmap.PROT_READ | mmap.PROT_WRITE)


@pytest.mark.skipif(platform.system() != "Linux", reason="needs mprotect")
@pytest.mark.parametrize("n", [1, 2, 3, 60])
def test_no_byte_is_read_behind_the_last_row(n, end_of_memory, library, tmp_path):
    model = model_of(h=64, k=3)
    codes = csae.pack(csae.encode_refined(rows_of(n=n), model))
    ctypes.memmove(end_of_memory - codes.data.nbytes, codes.data.tobytes(), codes.data.nbytes)
    expected = csae.search(rows_of(n=5), codes, 3, space="asymmetric", model=model)
    with (
        library.open_model(saved(tmp_path, model)) as ours,
        library.make_packed_codes(end_of_memory - codes.data.nbytes, codes) as items,
        library.make_index(ours, items, "asymmetric") as index,
    ):
        assert_same_codes(items.read(0, n), codes.unpack())
        assert np.array_equal(index.search(rows_of(n=5), 3)[0], expected.ids)
        last = ours.packed_norm(ctypes.c_void_p(end_of_memory - codes.data.shape[1]), 3, 5)
        assert last == ours.packed_norm(bytes(codes.data[-1]), 3, 5)


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """The program search, built with sanitizers, beside a model, packed codes and queries."""
    folder, model = tmp_path_factory.mktemp("example"), model_of()
    saved(folder, model)
    csae.save_packed(folder / "packed.npz", csae.pack(csae.encode_refined(rows_of(), model)))
    np.save(folder / "queries.npy", rows_of(n=7))
    rows_of(n=7).tofile(folder / "queries.f32")
    sources = [str(SOURCE / "search.c"), str(SOURCE / "compressae.c"), "-lm"]
    sanitizers = ["-DCSAE_NO_MMAP", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["cc", *FLAGS, *sanitizers, "-o", str(folder / "search"), *sources]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this compiler has no sanitizers")
    return folder


def found_by(folder: Path, *files: str) -> subprocess.CompletedProcess:
    return subprocess.run(["./search", *files], cwd=folder, capture_output=True, text=True, check=False)


def assert_finds_what_the_package_finds(stdout: str, folder: Path) -> None:
    found = [[int(word) for word in line.split("items ")[1].split()] for line in stdout.splitlines()]
    packed, model = csae.load_packed(folder / "packed.npz"), csae.load_model(folder / "model.npz")
    queries = np.load(folder / "queries.npy")
    assert found == csae.search(queries, packed, 10, space="asymmetric", model=model).ids.tolist()


def test_the_example_searches_safely(example):
    ended = found_by(example, "model.npz", "packed.npz", "queries.f32")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert_finds_what_the_package_finds(ended.stdout, example)
    ended = found_by(example, "packed.npz", "packed.npz", "queries.f32")
    assert ended.returncode == 1
    assert "FormatError: " in ended.stderr
    assert "compressae-model" in ended.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a positive multiple of 192 bytes, got 0 bytes"),
        (bytes(191), "got 191 bytes"),
        (bytes(1001), "rows of 48 float32 numbers, so a positive multiple of 192 bytes, got 1001 bytes"),
        (None, "a directory"),
        (b"\x93NUMPY" + bytes(192 - 6), "got an .npy file of 192 bytes\nwrite its numbers alone"),
        (np.ones((1, 47), np.float32).tobytes(), "got 188 bytes"),
    ],
    ids=["empty", "short", "1001", "folder", "npy", "columns"],
)
def test_the_example_refuses_other_queries(content, message, example):
    (example / "bad").mkdir() if content is None else (example / "bad").write_bytes(content)
    ended = found_by(example, "model.npz", "packed.npz", "bad")
    (example / "bad").rmdir() if content is None else (example / "bad").unlink()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("bad: ")
    assert message in ended.stderr.lower() if content is None else message in ended.stderr


@pytest.mark.parametrize(
    ("page", "heading"), [("examples/port_c/README.md", "## Try it"), ("examples/pages/anywhere.md", "## C")]
)
def test_pages_show_commands_that_run_in_the_root(page, heading, example, tmp_path):
    root = SOURCE.parent.parent
    section = (root / page).read_text("utf-8").split(f"\n{heading}\n")[1].split("\n## ")[0]
    (tmp_path / "examples").symlink_to(root / "examples")
    for name in ("model.npz", "packed.npz", "queries.npy"):  # which the front page makes
        shutil.copy(example / name, tmp_path)
    commands = "set -e\npython() { " + shlex.quote(sys.executable) + ' "$@"; }\n'
    commands += re.search(r"```bash\n(.*?)```", section, re.DOTALL)[1]
    ended = subprocess.run(["bash", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert_finds_what_the_package_finds(ended.stdout, tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("centered", [False, True])
def test_scores_of_single_rows_are_those_of_a_search(centered, dtype, library, tmp_path):
    model, queries = model_of(dtype=dtype, centered=centered), rows_of(n=3)
    packed = csae.pack(csae.encode_refined(rows_of(), model), 6)
    expected = csae.search(queries, packed, N, space="asymmetric", model=model)
    with library.open_model(saved(tmp_path, model)) as ours:
        norms = [ours.packed_norm(bytes(row), K, 6) for row in packed.data]
        for query, ids, scores in zip(queries, expected.ids, expected.scores, strict=True):
            u = ours.query(query)
            found = [ours.packed_score(u, bytes(packed.data[i]), K, 6, norms[i]) + u[H] for i in ids]
            assert np.concatenate(found).tobytes() == scores.tobytes()
        row = bytearray(bytes(packed.data[0]))
        row[-1] ^= 0x80
        refused("Format", "row 0", ours.packed_norm, bytes(row), K, 6, row=0)
        refused("Domain", "4, 5, 6 or 8 bits", ours.packed_norm, bytes(row), K, 7)


def test_codes_as_queries(library, tmp_path):
    model = model_of(centered=True)
    codes, queries = model.encode(rows_of(n=90)), model.encode(rows_of(n=5), 2 * K)
    with library.open_model(saved(tmp_path, model)) as ours, library.make_codes(codes) as items:
        for space in ("sparse", "reconstructed"):
            with library.make_index(ours, items, space) as index:
                expected = csae.search(queries, codes, 7, space=space, model=model)
                ids, scores = index.search(queries, 7)
                assert np.array_equal(ids, expected.ids)
                assert scores.tobytes() == expected.scores.tobytes()


# -- memory -----------------------------------------------------------------------------------------------------------


def test_nothing_is_allocated_while_it_computes(library, tmp_path):
    model = model_of()
    csae.save_packed(tmp_path / "codes.npz", csae.pack(csae.encode_refined(rows_of(), model)))
    in_use = library.counter("in_use").value
    with (
        library.open_model(saved(tmp_path, model)) as ours,
        library.open_codes(tmp_path / "codes.npz") as items,
        library.make_index(ours, items, "asymmetric") as index,
    ):
        before = library.counter("allocations").value
        ours.encode(rows_of())
        ours.refine(rows_of(), K, 4 * K)
        ours.unit_rows(rows_of())
        items.read(0, N)
        index.search(rows_of(n=9), 5)
        assert library.counter("allocations").value == before
    assert library.counter("in_use").value == in_use
    assert before > in_use


def test_a_failed_allocation_is_an_error_and_leaks_nothing(library, tmp_path):
    model = model_of(centered=True)
    small_file(tmp_path / "small.npz", model, "int8")
    csae.save_packed(tmp_path / "codes.npz", csae.pack(csae.encode_refined(rows_of(), model)))
    fail_at, allocations, in_use = (library.counter(name) for name in ("fail_at", "allocations", "in_use"))
    before, statuses = in_use.value, []
    for at in range(20):
        allocations.value, fail_at.value = 0, at
        statuses.append(status_of(open_all, library, tmp_path))
        fail_at.value = -1
        assert in_use.value == before
    assert set(statuses) == {"Memory", None}
    assert statuses == sorted(statuses, key=lambda status: status is None)  # each allocation once, then none is left


def open_all(library, folder) -> None:
    with (
        library.open_model(folder / "small.npz"),
        library.open_codes(folder / "codes.npz") as items,
        library.make_index(None, items, "sparse"),
    ):
        pass


def status_of(call, *arguments) -> str | None:
    try:
        call(*arguments)
    except LibraryError as error:
        return error.status
    return None


def test_without_mmap_files_are_read(library, tmp_path):
    model, x = model_of(), rows_of()
    reads = build(tmp_path, "-DCSAE_NO_MMAP")
    with reads.open_model(saved(tmp_path, model)) as ours:
        assert_same_codes(ours.encode(x), model.encode(x))
    assert reads.counter("in_use").value == 0
    with library.open_model((tmp_path / "model.npz").read_bytes()) as ours:
        assert_same_codes(ours.encode(x), model.encode(x))
    for lib in (reads, library):
        with pytest.raises(LibraryError, match=r"missing\.npz: cannot open") as failure:
            lib.open_model(tmp_path / "missing.npz")
        assert failure.value.status == "IO"


# -- errors -----------------------------------------------------------------------------------------------------------


def refused(status: str, match: str, call, *arguments, row: int = -1) -> None:
    with pytest.raises(LibraryError, match=match) as failure:
        call(*arguments)
    assert (failure.value.status, failure.value.row) == (status, row)


def test_wrong_arguments_are_refused(library, tmp_path):
    model, x = model_of(), rows_of()
    nan, items = x.copy(), model.encode(x)
    nan[5, 3] = np.nan
    other = Codes(items.indices, items.values, H, model="0" * 64)
    with library.open_model(saved(tmp_path, model)) as ours, library.make_codes(items) as codes:
        refused("Domain", "row 5", ours.encode, nan, row=5)
        refused("Shape", "d = 48 numbers, got 47", ours.encode, np.ascontiguousarray(x[:, 1:]))
        refused("Domain", "k from 1 to 300, got 0", ours.encode, x, 0)
        refused("Domain", "k from 1 to 300, got 301", ours.encode, x, H + 1)
        refused("Domain", "k from 1 to 7, got 8", ours.refine, x, K, K - 1)
        refused("Domain", "rows below 60", codes.read, 1, N)
        with library.make_index(ours, codes, "asymmetric") as index:
            refused("Domain", "top of at least 1", index.search, x, 0)
            refused("Domain", "zero row 0", index.search, np.zeros_like(x), 3, row=0)
            refused("Domain", "sparse or reconstructed", index.search, items, 3)
        with library.make_codes(other) as foreign:
            refused("Domain", "codes of one model", library.make_index, ours, foreign, "asymmetric")
        refused(
            "Argument", "model, got NULL; only sparse space needs none", library.make_index, None, codes, "asymmetric"
        )
    small_file(tmp_path / "only.npz", model, "int8", only="encoder")
    with library.open_model(tmp_path / "only.npz") as ours, library.make_codes(other) as codes:
        refused("Domain", "whole model", library.make_index, ours, codes, "reconstructed")


HEADER = (SOURCE / "compressae.h").read_text("utf-8")
PROTOTYPES = {
    name: re.findall(r"(\*?)(\w+)(?:,|$)", " ".join(parameters.split()))
    for name, parameters in re.findall(r"^csae_status csae_(\w+)\(([^;]*)\);", HEADER, re.MULTILINE)
}
"""Each function that returns a status: whether a parameter is a pointer, and its name."""
MAY_BE_NULL = {
    ("make_model", "W_enc"), ("make_model", "b_enc"), ("make_model", "W_dec"), ("make_model", "mean"),
    ("refine", "candidates"), ("abs_topk", "from"), ("make_packed_codes", "model"),
}  # fmt: skip


class Call:
    """Arguments of all functions that return a status: handles are made once, arrays have n rows."""

    def __init__(self, library: Library, folder: Path) -> None:
        self.library, self.folder, model = library, folder, model_of()
        self.x, self.codes = rows_of(n=3), model.encode(rows_of(n=3))
        self.packed = csae.pack(self.codes, 8)
        saved(folder, model)
        csae.save_codes(folder / "codes.npz", self.codes)
        self.ours = library.open_model(folder / "model.npz")
        self.items = library.open_codes(folder / "codes.npz")
        self.dense = library.make_index(self.ours, self.items, "asymmetric")
        self.sparse = library.make_index(self.ours, self.items, "sparse")
        self.room = [ctypes.create_string_buffer(1 << 20) for _ in range(4)]

    def close(self) -> None:
        for handle in (self.sparse, self.dense, self.items, self.ours):
            handle.close()

    def arguments(self, n: int, space: int = 2) -> dict[str, list]:
        size, none, bits = ctypes.c_size_t, ctypes.c_uint(0), ctypes.c_uint(8)
        x, codes, (a, b, c, workspace) = rows(self.x[:n]), code_rows(self.codes[:n]), self.room
        model, items, out, packed = self.ours.handle, self.items.handle, ctypes.byref(ctypes.c_void_p()), self.packed
        paths = [self.folder / "model.npz", self.folder / "codes.npz"]
        packed_bytes, sizes = packed.data.tobytes(), (size(H), size(K), bits)
        numbers = np.ones(12, np.float32).tobytes()
        contents = [path.read_bytes() if n else b"" for path in paths]
        return {
            "open_model": [out, str(paths[0]).encode(), none],
            "open_model_bytes": [out, contents[0], size(len(contents[0])), none],
            "make_model": [out, 4, size(3), size(4), size(1), numbers, None, numbers, None],
            "copy_weights": [model, 0, a],
            "unit_rows": [model, x, none, a, workspace],
            "encode": [model, x, size(K), none, a, b, workspace],
            "refine": [model, x, size(K), size(2 * K), None, none, a, b, workspace],
            "decode": [model, codes, a, workspace],
            "abs_topk": [4, numbers, None, size(12), size(2), a, b],
            "pack": [codes, bits, a],
            "unpack": [packed_bytes, size(n), size(packed.data.shape[1]), *sizes, a, b],
            "open_codes": [out, str(paths[1]).encode()],
            "open_codes_bytes": [out, contents[1], size(len(contents[1]))],
            "make_codes": [out, codes],
            "make_packed_codes": [out, packed_bytes, size(n), *sizes, None],
            "read_codes": [items, size(0), size(n), a, b],
            "make_index": [out, model, items, space],
            "search": [self.dense.handle, x, size(2), a, b, workspace],
            "search_codes": [self.sparse.handle, codes, size(2), a, b, workspace],
            "query": [model, rows(self.x[:1]), a, workspace],
            "packed_norm": [model, packed_bytes, size(K), bits, a, workspace],
            "packed_score": [model, bytes(4 * H + 4), packed_bytes, size(K), bits, numbers, c, workspace],
        }


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """All functions of a library in which undefined behaviour ends the process, if the compiler has the sanitizer."""
    folder = tmp_path_factory.mktemp("every")
    try:
        library = build(folder, "-fsanitize=undefined", "-fno-sanitize-recover=all")
    except (subprocess.CalledProcessError, OSError):
        library = build(folder)
    call = Call(library, folder)
    yield call
    call.close()


def pointers_of(function: str, arguments: list) -> list[tuple[str, list]]:
    """Return the pointers that a function needs by name, and its arguments with NULL in the place of each."""
    found = []
    for at, ((star, name), value) in enumerate(zip(PROTOTYPES[function], arguments, strict=False)):
        if isinstance(value, Rows | CodeRows):
            for field in ("data",) if isinstance(value, Rows) else ("indices", "values"):
                copy = type(value).from_buffer_copy(value)
                setattr(copy, field, None)
                found.append((f"{name}.{field}", [*arguments[:at], copy, *arguments[at + 1 :]]))
        elif star and (function, name) not in MAY_BE_NULL:
            found.append((name, [*arguments[:at], None, *arguments[at + 1 :]]))
    return found


def test_every_pointer_that_is_needed_is_checked(every):
    table = every.arguments(3)
    assert table.keys() == PROTOTYPES.keys()
    checked = 0
    for function, arguments in table.items():
        assert PROTOTYPES[function][-1] == ("*", "error")
        assert len(arguments) == len(PROTOTYPES[function]) - 1
        every.library.call(function, *arguments)
        for name, changed in pointers_of(function, arguments):
            expected = f"^expected a pointer as {re.escape(name)}, got NULL"
            refused("Argument", expected, every.library.call, function, *changed)
            assert getattr(every.library.c, f"csae_{function}")(*changed, None) == 7  # error may be NULL
            checked += 1
    assert checked > 70
    every.library.call("make_index", *pointers_of("make_index", every.arguments(3, 0)["make_index"])[1][1])


def test_arrays_without_rows_may_be_null(every):
    arrays = {"x_unit", "indices", "values", "workspace", "x_hat", "packed", "ids", "scores"}
    for function in ("unit_rows", "encode", "refine", "decode", "pack", "unpack", "make_codes", "make_packed_codes",
                     "read_codes", "search", "search_codes"):  # fmt: skip
        arguments = every.arguments(0)[function]
        for at, (star, name) in enumerate(PROTOTYPES[function][:-1]):
            value = arguments[at]
            if isinstance(value, Rows):
                value.data = None
            elif isinstance(value, CodeRows):
                value.indices = value.values = None
            elif star and name in arrays:
                arguments[at] = None
        every.library.call(function, *arguments)
    for function in ("open_model_bytes", "open_codes_bytes"):
        arguments = every.arguments(0)[function]
        arguments[1] = None
        refused("Format", "less than 22 bytes", every.library.call, function, *arguments)


def test_functions_without_a_status_return_zeros_for_null(library):
    c, size = library.c, ctypes.c_size_t
    assert (c.csae_workspace_bytes(None), c.csae_index_workspace_bytes(None)) == (0, 0)
    assert c.csae_refine_workspace_bytes(None, size(1), size(1)) == 0
    model, codes = c.csae_describe_model(None), c.csae_describe_codes(None)
    assert [model.dtype, model.d, model.h, model.k, model.weights, model.digest] == [0, 0, 0, 0, b"", b""]
    assert [codes.dtype, codes.n, codes.k, codes.h, codes.packed, codes.model] == [0, 0, 0, 0, None, None]
    for name in ("model", "codes", "index"):
        getattr(c, f"csae_close_{name}")(None)


FLAGS_OF = {"open_model": 3, "open_model_bytes": 3, "unit_rows": 4, "encode": 4, "refine": 4}


def test_unknown_flags_spaces_and_weights_are_refused(every):
    assert {name for name, names in PROTOTYPES.items() if ("", "flags") in names} == FLAGS_OF.keys()
    for function, allowed in FLAGS_OF.items():
        arguments = every.arguments(3)[function]
        at = PROTOTYPES[function].index(("", "flags"))
        for flags in (8, 64, 999, 1 << 31, allowed | 64, *(bit for bit in (1, 2, 4) if not bit & allowed)):
            arguments[at] = ctypes.c_uint(flags)
            refused("Domain", rf"expected flags 0.* CSAE_.*, got {flags}$", every.library.call, function, *arguments)
    for space in (3, 7, -1):
        arguments = every.arguments(3, space)["make_index"]
        refused("Domain", f"CSAE_ASYMMETRIC, got space {space}", every.library.call, "make_index", *arguments)
    for which in (4, -1):
        refused("Domain", f"got {which}", every.library.call, "copy_weights", every.ours.handle, which, every.room[0])


def test_only_version_3_opens_without_its_decoder(library, tmp_path):
    for centered, version in ((False, 1), (True, 2)):
        path = saved(tmp_path, model_of(centered=centered))
        for flags in (ENCODER_ONLY, ENCODER_ONLY | UNVERIFIED):
            refused(
                "Format", f"version 3 for CSAE_ENCODER_ONLY, got version {version}", library.open_model, path, flags
            )


def test_no_message_names_an_option_that_the_call_lacks(every):
    for function in ("unit_rows", "encode", "refine", "search", "query"):
        arguments, zeros = every.arguments(3)[function], np.zeros((1, D), np.float32)
        arguments[1] = rows(zeros)
        end = "leave it out, or use CSAE_EMPTY_ZERO_ROWS$" if function in FLAGS_OF else "leave it out$"
        refused("Domain", end, every.library.call, function, *arguments, row=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": "int4"}, {"weights": "float16"}, {"dtype": "float64"}, {"only": "decoder"}, {"centered": 1},
        {"centered": True}, {"encoder": "0" * 64}, {"digest": "0" * 64}, {"digest": "0" * 63}, {"version": 4},
        {"d": D + 1}, {"k": H + 1}, {"training": None},
    ],
    ids=str,
)  # fmt: skip
def test_small_files_with_another_meta_are_refused(changes, library, tmp_path):
    small_file(tmp_path / "bad.npz", model_of(), "int8", changes=changes)
    with pytest.raises(LibraryError, match=r"bad\.npz: ") as failure:
        library.open_model(tmp_path / "bad.npz")
    assert failure.value.status == "Format"


def test_integers_and_scales_that_are_not_allowed_are_refused(library, tmp_path):
    small_file(tmp_path / "good.npz", model_of(), "int8")
    members = dict(np.load(tmp_path / "good.npz"))
    for name, value in (("W_enc", -128), ("W_enc_scales", 0), ("W_dec_scales", -1), ("b_enc", np.nan)):
        array = members[name].copy()
        array.flat[3] = value
        np.savez(tmp_path / "bad.npz", **members | {name: array})
        refused("Format", name, library.open_model, tmp_path / "bad.npz", row=0 if value == -128 else -1)
    np.savez_compressed(tmp_path / "bad.npz", **members)
    refused("Format", "without compression", library.open_model, tmp_path / "bad.npz")


def test_unverified_models_skip_the_weights_and_nothing_else(library, tmp_path):
    path = saved(tmp_path, model_of())
    content = bytearray(path.read_bytes())
    content[content.index(b"W_enc.npy") + 300] ^= 1  # in the weights
    refused("Format", "checksum", library.open_model, bytes(content))
    library.open_model(bytes(content), UNVERIFIED).close()
    for size in (0, 21, 1000, len(content) - 1):
        refused("Format", "expected|damaged|cut off", library.open_model, bytes(content[:size]), UNVERIFIED)


def test_damaged_files_are_refused_or_read(library, tmp_path):
    """Any byte may be another one: the library must not crash, and reads what it accepts."""
    model, x = model_of(16, 20, 3), rows_of(16, 4)
    small_file(tmp_path / "small.npz", model, "int8")
    csae.save_packed(tmp_path / "packed.npz", csae.pack(model.encode(x)))
    csae.save_codes(tmp_path / "codes.npz", model.encode(x))
    rng, in_use, statuses = np.random.default_rng(0), library.counter("in_use").value, []

    def read(name: str, content: bytes) -> None:
        if name == "small":
            with library.open_model(content, UNVERIFIED * int(rng.integers(2))) as ours:
                ours.encode(x)
        else:
            with library.open_codes(content) as items:
                items.read(0, items.info.n)

    for name in ("small", "packed", "codes"):
        content = (tmp_path / f"{name}.npz").read_bytes()
        for _ in range(400):
            damaged = bytearray(content)
            for _ in range(rng.integers(1, 4)):
                damaged[rng.integers(len(damaged))] = rng.integers(256)
            statuses.append(status_of(read, name, bytes(damaged)))
    assert set(statuses) <= {"Format", "Domain", "Shape", None}
    assert statuses.count("Format") > 600
    assert library.counter("in_use").value == in_use


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs a processor that this test knows")
def test_a_build_that_computes_other_bits_refuses(tmp_path):
    if "fma" not in Path("/proc/cpuinfo").read_text("utf-8"):
        pytest.skip("needs a processor with fused multiply-add")
    flags = ["-std=c99", "-O2", "-mfma", "-ffp-contract=fast"]
    fused = build(tmp_path, flags=flags)
    refused("Build", "-ffp-contract=off", fused.open_model, b"")
    command = ["cc", "-c", "-ffast-math", "-o", str(tmp_path / "x.o"), str(SOURCE / "compressae.c")]
    assert subprocess.run(command, capture_output=True).returncode != 0


def test_messages_say_what_was_expected():
    source = (SOURCE / "compressae.c").read_text("utf-8")
    texts = re.findall(r'(?:fail\(|bad_format\()[^;]*?"((?:[^"\\]|\\.)*)"', source)
    assert len(texts) > 40
    for text in texts:
        assert re.search(r"expected|damaged|cut off|wrong|altered|cannot|build|%s", text), text


def test_the_header_is_valid_in_cpp_and_alone(tmp_path):
    (tmp_path / "alone.c").write_text('#include "compressae.h"\nint main(void) { return CSAE_OK; }\n')
    folder = SOURCE
    for language in ("c", "c++") if shutil.which("c++") else ("c",):
        standard = "-std=c99" if language == "c" else "-std=c++11"
        flags = [standard, *(flag for flag in FLAGS if not flag.startswith("-std"))]
        command = ["cc", "-x", language, *flags, "-I", str(folder), "-c", "-o", str(tmp_path / "o")]
        subprocess.run([*command, str(tmp_path / "alone.c")], check=True)
