// Where the bytes of a file come from: `openSource` makes a source of anything, { size, tailStart, read(start, end) }.
import { DTypeError, SourceError, demand } from "./errors.mjs";

const TAIL = 16384; // the end of an archive with its directory, and nearly always with its meta

// A source with its last bytes, which hold the directory of an archive: from HTTP they come with the first request.
export async function openSource(source) {
  if (typeof source === "string" || source instanceof URL) return openUrl(String(source));
  const { size, read } = plainSource(source);
  const start = Math.max(0, size - TAIL);
  return withTail(size, read, start, await read(start, size));
}

function plainSource(source) {
  if (typeof Blob !== "undefined" && source instanceof Blob) {
    return { size: source.size, read: async (start, end) => bytesOf(await source.slice(start, end).arrayBuffer()) };
  }
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return inMemory(bytesOf(source));
  const isSource = Number.isSafeInteger(source?.size) && typeof source?.read === "function";
  demand(isSource, DTypeError, "source: expected a URL, ArrayBuffer, Uint8Array, Blob or { size, read(start, end) }");
  return { size: source.size, read: (start, end) => source.read(start, end) };
}

const bytesOf = (data) => (ArrayBuffer.isView(data)
  ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data));
const inMemory = (bytes) => ({ size: bytes.length, read: async (start, end) => bytes.subarray(start, end) });

function withTail(size, read, tailStart, tail) {
  const checked = async (start, end) => {
    const bytes = start >= tailStart ? tail.subarray(start - tailStart, end - tailStart) : await read(start, end);
    demand(bytes.length === end - start, SourceError, `bytes ${start} to ${end}: got ${bytes.length} bytes`);
    return bytes;
  };
  return { size, tailStart, read: checked };
}

async function openUrl(url) {
  const response = await get(url, `bytes=-${TAIL}`).catch(() => null); // a preflight of CORS may refuse the header
  const range = response?.status === 206 ? contentRange(response) : null;
  if (!range) return wholeFile(url, response?.status === 200 ? response : await get(url));
  const read = async (start, end) => partOf(await get(url, `bytes=${start}-${end - 1}`), start, end, range.size);
  return withTail(range.size, read, range.start, bytesOf(await response.arrayBuffer()));
}

async function get(url, range) {
  try {
    return await fetch(url, range ? { headers: { Range: range } } : {});
  } catch (cause) {
    const why = cause.cause?.message ?? cause.message;
    const hint = /URL/.test(why) ? "; to open a file in Node, pass await readFile(path)" : "";
    throw new SourceError(`${url}: the request failed (${why})${hint}`, { cause });
  }
}

function contentRange(response) { // absent across origins, unless the server exposes this header
  const found = response.headers.get("Content-Range")?.match(/^bytes (\d+)-\d+\/(\d+)$/);
  return found ? { start: Number(found[1]), size: Number(found[2]) } : null;
}

async function wholeFile(url, response) {
  demand(response.ok, SourceError, `${url}: expected status 200, got ${response.status}`);
  const { size, read } = inMemory(bytesOf(await response.arrayBuffer()));
  return withTail(size, read, size, new Uint8Array(0));
}

async function partOf(response, start, end, size) {
  const bytes = bytesOf(await response.arrayBuffer());
  if (response.status === 200 && bytes.length === size) return bytes.subarray(start, end); // a server may do so
  const range = response.status === 206 ? contentRange(response) : null;
  const got = range ? `those from ${range.start} of ${range.size}` : `status ${response.status}`;
  const isAsked = range?.start === start && range.size === size;
  demand(isAsked, SourceError, () =>
    `${response.url}: expected bytes ${start} to ${end} of ${size}, got ${got}; open the file again if it has changed`);
  return bytes;
}
