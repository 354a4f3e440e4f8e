// The archives of file-format.md, sections 1 and 2: members by name, of which only those that are used are read.
import { FormatError, demand } from "./errors.mjs";
import { crc32 } from "./hashes.mjs";

const END_SIZE = 22; // bytes of the end record, behind which a comment of at most 65,535 bytes may follow
const require = (condition, message) => demand(condition, FormatError, message);
const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export async function openArchive(source) { // what `openSource` gives
  const [records, directoryStart] = await readDirectory(source);
  const found = new Map(members(records, directoryStart).map((member) => [member.name, member])); // the last one counts
  return { names: new Set(found.keys()), load: (names) => load(source, found, names) };
}

async function readDirectory({ size, tailStart, read }) {
  const isEnd = (at, bytes) => [0x50, 0x4b, 5, 6].every((byte, i) => bytes[at + i] === byte);
  const starts = [Math.min(tailStart, size - END_SIZE), size - END_SIZE - 65535].map((start) => Math.max(0, start));
  for (const start of starts) {
    const bytes = await read(start, size);
    let at = bytes.length - END_SIZE;
    while (at >= 0 && !isEnd(at, bytes)) at -= 1;
    if (at >= 0) return directoryOf(read, viewOf(bytes.subarray(at, at + END_SIZE)), start + at);
  }
  throw new FormatError("expected an .npz archive, got a file that is cut off or something else");
}

async function directoryOf(read, end, endStart) {
  const [count, start] = [end.getUint16(10, true), end.getUint32(16, true)];
  require(start <= endStart, "expected an archive of less than 4 GiB that is not cut off");
  const view = viewOf(await read(start, endStart));
  const records = [];
  let at = 0;
  while (records.length < count) {
    require(at + 46 <= view.byteLength && view.getUint32(at, true) === 0x02014b50, "the directory is damaged");
    const nameEnd = at + 46 + view.getUint16(at + 28, true);
    records.push({ view, at, nameEnd });
    at = nameEnd + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  require(at === view.byteLength, "expected one archive that starts at the first byte of the file");
  return [records, start];
}

function members(records, directoryStart) {
  const list = records.map(({ view, at, nameEnd }) => {
    require(nameEnd <= view.byteLength, "the directory is damaged");
    const name = new TextDecoder("utf-8", { ignoreBOM: true })
      .decode(new Uint8Array(view.buffer, view.byteOffset + at + 46, nameEnd - at - 46)).replace(/\.npy$/, "");
    const [crc, size, start] = [16, 24, 42].map((offset) => view.getUint32(at + offset, true));
    return { name, crc, size, start, method: view.getUint16(at + 10, true) };
  });
  const starts = [...list.map(({ start }) => start), directoryStart].sort((a, b) => a - b);
  return list.map((member) => ({ ...member, end: starts[starts.indexOf(member.start) + 1] ?? 0 }));
}

// One read serves members that lie side by side. → an object of arrays by name; a name that is missing is an error
async function load(source, found, names) {
  const missing = names.find((name) => !found.has(name));
  require(missing === undefined, () => `expected a member ${missing}.npy, got ${[...found.keys()].join(", ")}`);
  const wanted = names.map((name) => found.get(name)).sort((a, b) => a.start - b.start);
  const contents = new Map();
  for (let i = 0, j; i < wanted.length; i = j) {
    for (j = i + 1; j < wanted.length && wanted[j].start === wanted[j - 1].end; j++);
    const [start, end] = [wanted[i].start, wanted[j - 1].end];
    require(start <= end && end <= source.size, "the directory is damaged");
    const bytes = await source.read(start, end);
    for (const member of wanted.slice(i, j)) {
      const own = bytes.subarray(member.start - start, member.end - start);
      contents.set(member.name, arrayOf(contentOf(own, member), member.name));
    }
  }
  return Object.fromEntries(names.map((name) => [name, contents.get(name)]));
}

function contentOf(bytes, { name, crc, size, method }) {
  require(method === 0, `${name}: expected a member that is stored, got a compressed one (method ${method})`);
  require(bytes.length >= 30, `${name}: two members overlap`);
  const header = viewOf(bytes);
  const start = 30 + header.getUint16(26, true) + header.getUint16(28, true);
  require(start + size <= bytes.length, `${name}: expected ${size} bytes, got ${Math.max(0, bytes.length - start)}`);
  const content = bytes.subarray(start, start + size);
  require(crc32(content) === crc, `${name}: its bytes do not match their CRC-32; the file was altered or damaged`);
  return content;
}

// ---- 2. The arrays
const SIZES = { "<f2": 2, "<f4": 4, "<f8": 8, "<i4": 4, "<i8": 8, "|b1": 1, "|S3": 3, "|u1": 1, "|i1": 1 };
const C_ORDER = "'fortran_order': False";
export const tuple = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;

function arrayOf(content, name) { // → { name, descr, shape, raw }
  const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0];
  require(content.length >= 10 && magic.every((byte, i) => content[i] === byte), `${name}: expected .npy version 1.0`);
  const start = 10 + viewOf(content).getUint16(8, true);
  const header = String.fromCharCode(...content.subarray(10, start));
  const [descr, sizes] = [/'descr': '([^']*)'/, /'shape': \(([\d, ]*)\)/].map((entry) => header.match(entry)?.[1]);
  const isReadable = header.startsWith("{") && descr && sizes !== undefined && header.includes(C_ORDER);
  require(isReadable, `${name}: expected the header of an array in C order`);
  const shape = sizes.split(",").filter((size) => size.trim()).map(Number);
  const itemSize = SIZES[descr] ?? 4 * Number(descr.match(/^<U(\d+)$/)?.[1]);
  require(itemSize >= 0, `${name}: expected little-endian numbers or text, got ${descr}`);
  const raw = content.subarray(start);
  const length = shape.reduce((product, size) => product * size, itemSize);
  const got = () => `${name}: expected ${length} bytes for ${descr} of shape ${tuple(shape)}, got ${raw.length}`;
  require(raw.length === length, got);
  return { name, descr, shape, raw };
}

export function requireArray({ name, descr, shape }, descrs, expected) { // null in `expected` stands for any size
  const fits = shape.length === expected.length && expected.every((size, i) => size === null || size === shape[i]);
  const wanted = `${descrs.join(" or ")} of shape ${tuple(expected.map((size) => size ?? "n"))}`;
  const got = `${descr} of shape ${tuple(shape)}`;
  require(descrs.includes(descr) && fits, `${name}: expected ${wanted}, got ${got}`);
}

const TYPES = {
  "<f4": Float32Array, "<f8": Float64Array, "<i4": Int32Array, "<i8": BigInt64Array,
  "|u1": Uint8Array, "|i1": Int8Array,
};

// The machine is little-endian. Bytes that are not aligned, or lie in a larger piece, are copied.
export function numbersOf({ name, descr, raw }) {
  if (descr === "<f2") return halvesOf(raw, name);
  const Type = TYPES[descr];
  const own = raw.byteOffset % Type.BYTES_PER_ELEMENT === 0 ? raw : raw.slice();
  const numbers = new Type(own.buffer, own.byteOffset, own.byteLength / Type.BYTES_PER_ELEMENT);
  requireFinite(numbers, name);
  return numbers;
}

function halvesOf(raw, name) { // float16 as float32, exactly
  const [view, numbers] = [viewOf(raw), new Float32Array(raw.length / 2)];
  for (let i = 0; i < numbers.length; i++) numbers[i] = halfOf(view.getUint16(2 * i, true));
  requireFinite(numbers, name);
  return numbers;
}

function halfOf(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const magnitude = exponent === 31 ? (fraction ? NaN : Infinity)
    : exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
  return bits >> 15 ? -magnitude : magnitude;
}

function requireFinite(numbers, name) {
  if (!(numbers instanceof Float32Array || numbers instanceof Float64Array)) return;
  let sum = 0; // stays 0, or becomes NaN
  for (let i = 0; i < numbers.length; i++) sum += numbers[i] * 0;
  require(sum === 0, `${name}: expected finite numbers, got NaN or infinity`);
}

// The meta of a file, a JSON object, which must be of this format and of one of these versions
export async function readMeta(archive, format, versions) {
  const { meta: array } = await archive.load(["meta"]);
  require(array.descr.startsWith("<U") && array.shape.length === 0, "meta: expected a single string");
  const view = viewOf(array.raw);
  let text = "";
  for (let i = 0; i < array.raw.length; i += 4) text += character(view.getUint32(i, true));
  const meta = parseJson(text);
  const [kind, version] = [meta.format, meta.version].map((value) => JSON.stringify(value));
  require(meta.format === format, `meta: expected a file of format "${format}", got ${kind}`);
  require(versions.includes(meta.version), `meta: expected version ${versions.join(" or ")} of a file, got ${version}`);
  return meta;
}

function character(point) {
  const isCharacter = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
  require(isCharacter, "meta: expected characters, got half a surrogate pair");
  return String.fromCodePoint(point);
}

function parseJson(text) {
  try {
    const meta = JSON.parse(text);
    if (Object(meta) === meta && !Array.isArray(meta)) return meta;
  } catch (cause) {
    throw new FormatError("meta: expected a JSON object", { cause });
  }
  throw new FormatError("meta: expected a JSON object");
}
