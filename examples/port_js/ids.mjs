// The ids of rows in codes files: file-format.md, section 4.
import { numbersOf, requireArray } from "./archive.mjs";
import { FormatError, demand } from "./errors.mjs";

// → strings, or integers (BigInt above 2^53), or null if the file has no ids
export function idsOf({ ids, ids_lengths: lengths }, n) {
  if (!ids) return null;
  const found = lengths ? stringsOf(ids, lengths, n) : ids.descr.startsWith("<U") ? wideStringsOf(ids, n) : integersOf(ids, n);
  demand(new Set(found).size === n, FormatError, "ids: expected ids that are all different");
  return found;
}

function stringsOf(ids, lengths, n) {
  requireArray(ids, ["|u1"], [null]);
  requireArray(lengths, ["<i4"], [n]);
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let end = 0;
  const found = Array.from(numbersOf(lengths), (size, row) => {
    demand(size >= 0 && end + size <= ids.raw.length, FormatError, "ids_lengths: expected lengths that fit ids", row);
    return decoded(decoder, ids.raw.subarray(end, (end += size)), row);
  });
  demand(end === ids.raw.length, FormatError, `ids_lengths: expected the sum ${ids.raw.length}, got ${end}`);
  return found;
}

function decoded(decoder, bytes, row) {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new FormatError("ids: expected UTF-8", { row, cause });
  }
}

function wideStringsOf(ids, n) { // of older files
  requireArray(ids, [ids.descr], [n]);
  const points = new Uint32Array(ids.raw.slice().buffer);
  const width = points.length / n;
  return Array.from({ length: n }, (_, row) => {
    const own = points.subarray(row * width, (row + 1) * width);
    const isText = own.every((point) => point <= 0x10ffff && (point < 0xd800 || point > 0xdfff));
    demand(isText, FormatError, "ids: expected characters", row);
    return Array.from(own, (point) => String.fromCodePoint(point)).join("").replace(/\0+$/, "");
  });
}

function integersOf(ids, n) {
  requireArray(ids, ["<i8"], [n]);
  return Array.from(numbersOf(ids), (id) => (Number.isSafeInteger(Number(id)) ? Number(id) : id));
}
