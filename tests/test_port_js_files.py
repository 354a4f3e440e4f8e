"""The modules of the port in JavaScript read and write the package's files; they fetch only the parts they need."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest

import compressae_ref as csae
from compressae_ref.files.npz import write_npz
from tests.browser import needs_browser
from tests.node import PORT, model_of, rows_of, run, same, same_codes, server, tied_codes
from tests.small_files import small_file

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
MODULES = sorted(PORT.glob("*.mjs"))


# -- packed codes, codes and ids --------------------------------------------------------------------------------------


def random_codes(h, k):
    rng = np.random.default_rng(9)
    rows = [rng.choice(h, k, replace=False) if h < 1e6 else rng.integers(h, size=k) for _ in range(9)]
    values = rng.normal(size=(9, k)).astype(np.float32)
    values[4], values[5] = 0, np.float32(1e-44)
    return csae.Codes(np.sort(np.stack(rows)).astype(np.int32), values, h, "é" * 64, refined=True)


@pytest.mark.parametrize(("h", "k"), [(90, 8), (4096, 32), (70_000, 5), (1 << 30, 1), (16, 16), (1, 1)])
def test_packed_codes_and_files_have_the_bytes_of_the_package(h, k, tmp_path):
    """Codes are unpacked, packed again with each number of bits, and written."""
    codes = random_codes(h, k)
    csae.save_codes(tmp_path / "codes.npz", codes)
    for bits in (4, 5, 6, 8):
        csae.save_packed(tmp_path / f"{bits}.npz", csae.pack(codes, bits))
    script = """
    const codes = await C.openCodes(readFileSync("codes.npz"));
    const open = (bits) => C.openPackedCodes(readFileSync(`${bits}.npz`));
    const packed = (await Promise.all([4, 5, 6, 8].map(open))).map((one) => ({
      data: one.data, row: one.row(3), unpacked: one.unpack(), again: C.pack(codes, one.bits).data,
      written: C.codesFile(one), rowBytes: one.layout.rowBytes, few: C.truncate(one.row(3), Math.ceil(one.k / 2)),
    }));
    return { row: codes.row(3), written: C.codesFile(codes), packed };"""
    answer = run(script, tmp_path)
    assert answer["written"].tobytes() == (tmp_path / "codes.npz").read_bytes()
    assert same_codes(answer["row"], codes[3])
    for bits, own in zip((4, 5, 6, 8), answer["packed"], strict=True):
        packed = csae.pack(codes, bits)
        assert own["rowBytes"] == packed.bytes_per_item
        assert same(own["data"], packed.data)
        assert same(own["again"], packed.data)
        assert own["written"].tobytes() == (tmp_path / f"{bits}.npz").read_bytes()
        assert same_codes(own["unpacked"], packed.unpack())
        assert same_codes(own["row"], packed.unpack()[3])
        assert same_codes(own["few"], packed.unpack()[3].truncate((k + 1) // 2))


def test_ids_of_rows(tmp_path):
    codes = csae.Codes(*tied_codes(4, 16, 4), 16)
    given = {"strings": ["a", "", "ž\ufeff", "\ufeffdé"], "integers": [5, -7, 1 << 62, 0], "none": None}
    for name, ids in given.items():
        csae.save_codes(tmp_path / f"{name}.npz", codes, ids)
    wide = dict(np.load(tmp_path / "none.npz")) | {"ids": np.array(["x", "yé", "", "𝛼"])}
    write_npz(tmp_path / "wide.npz", wide)
    for name, ids in (("twice", np.array([1, 1, 2, 3])), ("few", np.array([1, 2]))):
        write_npz(tmp_path / f"{name}.npz", wide | {"ids": ids})
    write_npz(tmp_path / "long.npz", wide | {"ids": np.zeros(3, np.uint8), "ids_lengths": np.int32([1, 1, 1, 1])})
    script = """
    const ids = async (name, options) => (await C.openCodes(readFileSync(`${name}.npz`), options)).ids;
    const found = {};
    for (const name of ["strings", "integers", "none", "wide"]) found[name] = (await ids(name))?.map(String) ?? null;
    for (const name of ["twice", "few", "long"]) found[name] = (await fault(() => ids(name))).name;
    found.unread = await ids("twice", { ids: false });
    return found;"""
    assert run(script, tmp_path) == {
        "strings": given["strings"], "integers": ["5", "-7", str(1 << 62), "0"], "none": None,
        "wide": ["x", "yé", "", "𝛼"], "unread": None,
        "twice": "FormatError", "few": "FormatError", "long": "FormatError",
    }  # fmt: skip


def test_files_are_written_with_their_ids(tmp_path):
    """The bytes are those of the package, and every id comes back."""
    codes = csae.Codes(*tied_codes(4, 12, 3), 12, "0" * 64)
    given = {"strings": ["x", "yé", "", "\U0001d6fc"], "integers": np.array([5, -7, 1 << 62, 0])}
    for name, ids in given.items():
        csae.save_codes(tmp_path / f"{name} codes.npz", codes, ids=ids)
        csae.save_packed(tmp_path / f"{name} packed.npz", csae.pack(codes), ids=ids)
    script = """
    const { writeFileSync } = await import("node:fs");
    for (const name of ["strings", "integers"]) {
      const [codes, packed] = [`${name} codes`, `${name} packed`];
      writeFileSync(`${codes}.js`, C.codesFile(await C.openCodes(readFileSync(`${codes}.npz`))));
      writeFileSync(`${packed}.js`, C.codesFile(await C.openPackedCodes(readFileSync(`${packed}.npz`))));
    }
    const codes = await C.openCodes(readFileSync("strings codes.npz"));
    codes.ids = ["a", 1, "b", 2];
    const mixed = await fault(() => C.codesFile(codes));
    codes.ids = ["a"];
    return [mixed.name, (await fault(() => C.codesFile(codes))).name];"""
    assert run(script, tmp_path) == ["DTypeError", "ShapeError"]
    for path in tmp_path.glob("*.npz"):
        assert path.with_suffix(".js").read_bytes() == path.read_bytes(), path.name


def test_what_is_no_model_or_no_codes_is_a_typed_error(tmp_path):
    model = model_of(8, 16, 4)
    csae.save_model(tmp_path / "model.npz", model)
    csae.save_model(tmp_path / "int8.npz", model, weights="int8")
    csae.save_packed(tmp_path / "packed.npz", csae.pack(model.encode(rows_of(5, 8))))
    script = """
    const open = (name, only) => C.openModel(readFileSync(`${name}.npz`), { only });
    const [model, int8, encoder] = [await open("model"), await open("int8"), await open("model", "encoder")];
    const decoder = await open("model", "decoder");
    const packed = await C.openPackedCodes(readFileSync("packed.npz"));
    const calls = [
      () => C.modelFile(int8), () => C.modelFile(encoder), () => C.modelFile(decoder), () => C.modelFile(null),
      () => new C.PackedIndex(packed, encoder), () => new C.PackedIndex(packed), () => new C.PackedIndex(model, packed),
      () => C.pack(null), () => C.pack(packed), () => C.codesFile(null), () => C.codesFile(model),
      () => model.decode(null), () => model.decode(packed), () => C.openModel("model.npz"),
    ];
    const faults = [];
    for (const call of calls) faults.push(await fault(call));
    return faults;"""
    faults = run(script, tmp_path)
    known = {"DomainError", "DTypeError", "SourceError"}
    assert [fault and fault["name"] in known for fault in faults] == [True] * len(faults), faults
    assert "pass await readFile(path)" in faults[-1]["message"]


# -- model files: small ones, and damaged ones ------------------------------------------------------------------------


SMALL = {
    "int8": (model_of(24, 90, 8), "int8"),
    "float16": (model_of(24, 90, 8), "float16"),
    "float32": (model_of(24, 90, 8), "float32"),
    "float64": (model_of(24, 90, 8, "float64"), "float64"),
    "centred int8": (model_of(24, 90, 8, mean=np.linspace(-0.1, 0.12, 24)), "int8"),
    "zero column": (model_of(24, 90, 8, W_enc=rows_of(24, 90) * (np.arange(90) % 9 > 0)), "int8"),
    "small halves": (model_of(24, 90, 8, W_enc=rows_of(24, 90) * 1e-5), "float16"),
}


def test_small_models_are_those_of_their_decoded_weights(tmp_path):
    x = rows_of(20, 24)
    (tmp_path / "x").write_bytes(x.tobytes())
    models = {name: small_file(tmp_path / f"{name}.npz", *content) for name, content in SMALL.items()}
    for name, content in SMALL.items():
        small_file(tmp_path / f"{name} encoder.npz", *content, only="encoder")
    script = """
    const [answers, x] = [{}, f4("x")];
    for (const name of %s) {
      const open = (file, only) => C.openModel(readFileSync(`${file}.npz`), { only });
      const models = [await open(name), await open(name, "encoder"), await open(`${name} encoder`)];
      const [[model, , small], decoder] = [models, await open(name, "decoder")];
      answers[name] = {
        codes: models.map((one) => one.encode(x)), refined: model.refine(x),
        x_hat: [model, decoder].map((one) => one.decode(model.encode(x))),
        checked: [...models, decoder].map((one) => one.checked), digests: models.map((one) => one.digest),
        faults: [
          await fault(() => small.decode(model.encode(x))), await fault(() => open(`${name} encoder`, "decoder")),
        ],
      };
    }
    return answers;"""
    for name, answer in run(script % list(models), tmp_path).items():
        model = models[name]
        codes = model.encode(x)
        assert all(same_codes(own, codes) for own in answer["codes"]), name
        assert same_codes(answer["refined"], csae.encode_refined(x, model)), name
        assert all(same(own, model.decode(codes)) for own in answer["x_hat"]), name
        assert answer["checked"] == ["digest", "encoder", "encoder", "crc"], name
        assert answer["digests"] == [model.digest] * 3, name
        assert [fault["name"] for fault in answer["faults"]] == ["DomainError", "FormatError"], name


BAD_META = {
    "weights": {"weights": "int4"}, "dtype": {"dtype": "float16"}, "mixed": {"weights": "float64"},
    "only": {"only": "decoder"}, "centered": {"centered": 1}, "digest": {"digest": "0" * 64},
    "encoder": {"encoder": "0" * 64}, "version": {"version": 4}, "true": {"k": True}, "k": {"k": 91},
    "no mean": {"centered": True}, "training": {"training": []}, "format": {"format": "compressae-codes"},
}  # fmt: skip


def test_small_models_that_are_inconsistent_are_refused(tmp_path):
    for name, changed in BAD_META.items():
        small_file(tmp_path / f"{name}.npz", *SMALL["int8"], changes=changed)
    members = dict(np.load(tmp_path / "encoder.npz"))
    for name, change in {
        "-128": {"W_enc": np.full((24, 90), -128, np.int8)},
        "scale": {"W_dec_scales": np.zeros(90, np.float32)},
        "scales": {"W_enc_scales": np.ones(91, np.float32)},
        "shape": {"W_enc": np.ones((90, 24), np.int8)},
        "NaN": {"b_enc": np.full(90, np.nan, np.float32)},
        "atoms": {"W_dec_scales": np.ones(90, np.float32)},
    }.items():
        write_npz(tmp_path / f"{name}.npz", members | change)
    script = """
    const { readdirSync } = await import("node:fs");
    const faults = {};
    for (const name of readdirSync(".")) faults[name] = await fault(() => C.openModel(readFileSync(name)));
    return faults;"""
    faults = run(script, tmp_path)
    assert len(faults) == len(BAD_META) + 6
    assert {fault and fault["name"] for fault in faults.values()} == {"FormatError"}, faults
    assert all("expected" in fault["message"] for fault in faults.values())


def test_damaged_files_are_refused_or_hold_what_they_held(tmp_path):
    """Every error is a FormatError, whatever byte is altered and wherever the file ends.

    The names of members have no checksum. So integer ids whose name is damaged would be unknown, and are left out here.
    """
    model = model_of(6, 12, 3)
    codes = csae.Codes(*tied_codes(8, 12, 3), 12, model.digest)
    csae.save_model(tmp_path / "model.npz", model)
    csae.save_codes(tmp_path / "codes.npz", codes, ids=list("abcdefgh"))
    csae.save_packed(tmp_path / "packed.npz", csae.pack(codes), ids=list("ijklmnop"))
    small_file(tmp_path / "small.npz", model, "int8")
    script = """
    const readers = { model: C.openModel, small: C.openModel, codes: C.openCodes, packed: C.openPackedCodes };
    const text = (value) => JSON.stringify(value, plain);
    const found = {};
    for (const [name, open] of Object.entries(readers)) {
      const whole = readFileSync(`${name}.npz`);
      const [expected, counts] = [text(await open(whole)), { refused: 0, same: 0, wrong: [] }];
      const trial = async (bytes, what) => {
        try {
          if (text(await open(bytes)) === expected) counts.same += 1;
          else counts.wrong.push(what);
        } catch (error) {
          if (error.name === "FormatError") counts.refused += 1;
          else counts.wrong.push(`${what}: ${error.stack}`);
        }
      };
      for (let end = 0; end < whole.length; end += end < 64 ? 1 : 13) {
        await trial(whole.subarray(0, end), `ends at ${end}`);
      }
      for (let at = 0; at < whole.length; at++) {
        const bytes = Buffer.from(whole);
        bytes[at] ^= 1 << (at % 8);
        await trial(bytes, `byte ${at} of ${whole.length}`);
      }
      found[name] = counts;
    }
    return found;"""
    for name, counts in run(script, tmp_path).items():
        assert not counts["wrong"], (name, counts["wrong"][:3])
        assert counts["refused"] > counts["same"], name


# -- sources ----------------------------------------------------------------------------------------------------------


def test_all_sources_give_the_same_model(tmp_path):
    model, x = model_of(8, 16, 4), rows_of(3, 8)
    csae.save_model(tmp_path / "model.npz", model)
    (tmp_path / "x").write_bytes(x.tobytes())
    with server(tmp_path) as served:
        script = """
        const file = readFileSync("model.npz");
        const bytes = new Uint8Array(file);
        const own = { size: bytes.length, read: async (start, end) => bytes.slice(start, end) };
        const shifted = new Uint8Array(bytes.length + 3).subarray(3);
        shifted.set(bytes);
        const url = "%s/model.npz";
        const sources = [file, bytes, bytes.buffer, new Blob([bytes]), own, shifted, url, new URL(url)];
        const models = await Promise.all(sources.map((source) => C.openModel(source)));
        return models.map((model) => model.encode(f4("x")));"""
        answers = run(script % served.url, tmp_path)
    assert all(same_codes(own, model.encode(x)) for own in answers)


def test_only_what_is_needed_is_fetched(tmp_path):
    """Opening the encoder fetches neither W_dec nor more than three pieces; one request is enough for small files."""
    model = model_of(96, 1024, 8)
    size = 96 * 1024 * 4
    csae.save_model(tmp_path / "model.npz", model)
    codes = csae.Codes(*tied_codes(4000, 1024, 8), 1024, model.digest)
    csae.save_packed(tmp_path / "packed.npz", csae.pack(codes), ids=[f"item {i:06}" for i in range(4000)])
    small_file(tmp_path / "small.npz", model_of(8, 16, 4), "int8")
    (tmp_path / "x").write_bytes(rows_of(3, 96).tobytes())
    with server(tmp_path) as served:
        opened = lambda call: run(f"return {call.replace('URL', served.url)};", tmp_path)  # noqa: E731
        codes = opened("(await C.openModel('URL/model.npz', { only: 'encoder' })).encode(f4('x'))")
        assert same(codes["values"], model.encode(rows_of(3, 96)).values)
        assert size < served.bytes < 1.1 * size
        assert len(served.answers) <= 3
        served.answers.clear()
        opened("(await C.openModel('URL/model.npz', { only: 'decoder' })).digest")
        assert size < served.bytes < 1.1 * size
        assert min(start for start, _ in served.answers) > size
        served.answers.clear()
        assert opened("(await C.openPackedCodes('URL/packed.npz')).ids[7]") == "item 000007"
        with_ids = served.bytes
        served.answers.clear()
        opened("(await C.openPackedCodes('URL/packed.npz', { ids: false })).length")
        assert served.bytes < with_ids - 4000 * 8
        served.answers.clear()
        opened("(await C.openModel('URL/small.npz')).digest")
        assert served.answers == [(0, (tmp_path / "small.npz").stat().st_size)]


@pytest.mark.parametrize("option", ["ranges", "says_range"])
def test_a_server_without_ranges_sends_the_whole_file(option, tmp_path):
    csae.save_model(tmp_path / "model.npz", model_of(96, 1024, 8))
    with server(tmp_path, **{option: False}) as served:
        checked = run(f"return (await C.openModel('{served.url}/model.npz', {{ only: 'encoder' }})).checked;", tmp_path)
    assert checked == "crc"
    size = (tmp_path / "model.npz").stat().st_size
    assert [answer for answer in served.answers if answer[1] > 20_000] == [(0, size)]


def test_what_cannot_be_fetched_is_a_source_error(tmp_path):
    csae.save_model(tmp_path / "model.npz", model_of(96, 1024, 8))
    with server(tmp_path) as served:
        script = f"""
        const {{ writeFileSync }} = await import("node:fs");
        const faults = [await fault(() => C.openModel("{served.url}/missing.npz")),
          await fault(() => C.openModel("http://127.0.0.1:1/model.npz")), await fault(() => C.openModel("model.npz"))];
        const fetched = globalThis.fetch;
        globalThis.fetch = async (...request) => {{ // the file changes after the first request
          const response = await fetched(...request);
          writeFileSync("model.npz", readFileSync("model.npz").subarray(0, 90000));
          return response;
        }};
        faults.push(await fault(() => C.openModel("{served.url}/model.npz")));
        const short = {{ size: 90000, read: async () => new Uint8Array(5) }};
        return [...faults, await fault(() => C.openModel(short))];"""
        faults = run(script, tmp_path)
    assert [fault["name"] for fault in faults] == ["SourceError"] * 5
    assert "404" in faults[0]["message"]
    assert "model.npz" in faults[2]["message"]
    assert "changed" in faults[3]["message"]


@needs_browser
def test_the_modules_run_in_a_browser(browser, tmp_path):
    """A page encodes and searches with the bits of the package, and no request fetches a whole model."""
    model, x = model_of(96, 1024, 8), rows_of(1, 96)
    codes = csae.pack(csae.Codes(*tied_codes(200, 1024, 8), 1024, model.digest))
    csae.save_model(tmp_path / "model.npz", model)
    csae.save_packed(tmp_path / "packed.npz", codes)
    (tmp_path / "x").write_bytes(x.tobytes())
    for module in MODULES:
        shutil.copy(module, tmp_path)
    (tmp_path / "index.html").write_text("<!doctype html><title>page</title>")
    script = """async () => {
      const { PackedIndex, openModel, openPackedCodes } = await import("/compressae.mjs");
      const x = new Float32Array(await (await fetch("x")).arrayBuffer());
      const encoder = await openModel("model.npz", { only: "encoder" });
      const { indices, values } = encoder.encode(x);
      const decoder = await openModel("model.npz", { only: "decoder" });
      const index = new PackedIndex(await openPackedCodes("packed.npz"), decoder);
      const { ids, scores } = index.search(x, 10);
      return [indices, values, ids, scores].map((array) => Array.from(array));
    }"""
    with server(tmp_path) as served:
        page = browser.new_page()
        page.goto(f"{served.url}/index.html")
        indices, values, ids, scores = page.evaluate(script)
        page.close()
    assert max(size for _, size in served.answers) < 0.6 * (tmp_path / "model.npz").stat().st_size
    expected, hits = model.encode(x), csae.search(x, codes, 10, model=model, space="asymmetric")
    assert indices == expected.indices[0].tolist()
    assert values == expected.values[0].tolist()
    assert ids == hits.ids[0].tolist()
    assert scores == hits.scores[0].tolist()


# -- README -----------------------------------------------------------------------------------------------------------


def readme_example(kind):
    return re.search(rf"```{kind}\n(.*?)```", (PORT / "README.md").read_text("utf-8"), re.DOTALL).group(1)


def test_the_example_for_node_runs(tmp_path):
    model, x = model_of(96, 1024, 8), rows_of(3, 96)
    csae.save_model(tmp_path / "model.npz", model)
    x.tofile(tmp_path / "rows.f32")
    example = tmp_path / "example.mjs"
    example.write_text(readme_example("js").replace("./port_js/", f"{PORT.as_uri()}/"), encoding="utf-8")
    done = subprocess.run(["node", str(example)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("3 Int32Array(8) [")
    csae.save_packed(tmp_path / "expected.npz", csae.pack(csae.encode_refined(x, model)))
    assert (tmp_path / "packed.npz").read_bytes() == (tmp_path / "expected.npz").read_bytes()


@needs_browser
def test_the_example_for_a_page_runs(browser, tmp_path):
    model, x = model_of(96, 1024, 8), rows_of(1, 96)
    codes = csae.pack(csae.Codes(*tied_codes(200, 1024, 8), 1024, model.digest))
    csae.save_model(tmp_path / "model.npz", model)
    csae.save_packed(tmp_path / "packed.npz", codes, ids=[f"item {i}" for i in range(200)])
    shutil.copytree(PORT, tmp_path / "port_js")
    (tmp_path / "index.html").write_text(
        f"<!doctype html><title>page</title>{readme_example('html')}", encoding="utf-8"
    )
    (tmp_path / "embed?text=pdf+viewer").write_bytes(x.tobytes())
    with server(tmp_path) as served:
        page = browser.new_page()
        with page.expect_console_message(lambda message: message.type == "log") as said:
            page.goto(f"{served.url}/index.html")
        ids, scores = (list(said.value.args[i].json_value()) for i in (0, 1))
        page.close()
    hits = csae.search(x, codes, 10, model=model, space="asymmetric")
    assert ids == [f"item {i}" for i in hits.ids[0]]
    assert len(scores) == 10


# -- the modules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_a_module_can_be_read_and_runs_in_a_browser(module):
    text = module.read_text("utf-8")
    assert len(text.splitlines()) <= 250
    assert max(map(len, text.splitlines())) <= 120
    imported = re.findall(r'(?:from|import\() ?"([^"]+)"', text)
    foreign = [name for name in imported if not (name.startswith("./") and (PORT / name).is_file())]
    assert foreign == (["node:readline"] if module.name == "protocol.mjs" else [])
    if module.name != "protocol.mjs":
        assert not re.search(r"\b(process|Buffer|require\(\"|node:)\b", text)
