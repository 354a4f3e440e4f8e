// Which names match a typed text, best first.

export function plain(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

const GROUPS = 8;

// How well a name matches: 0 is its first part, between commas; 5 is the text inside of a word; 6 and 7 are names that
// have all words in another order, 6 at the start of words
function quality(name, text, words) {
  const at = name.indexOf(text);
  if (at < 0) return scattered(name, words);
  if (at === 0 && (name.length === text.length || name[text.length] === ",")) return 0;
  if (`, ${name},`.includes(`, ${text},`)) return 1;
  if (at === 0) return 2;
  if (name.includes(`, ${text}`)) return 3;
  return name.includes(` ${text}`) ? 4 : 5;
}

function scattered(name, words) {
  if (!words.every((word) => name.includes(word))) return -1;
  return words.every((word) => ` ${name}`.includes(` ${word}`)) ? 6 : 7;
}

// Rows of the names that match, of plain names and a plain text
export function matching(names, typed) {
  const words = typed.split(/[\s,]+/).filter(Boolean);
  if (!words.length) return [];
  const text = typed.trim().replace(/\s+/g, " ");
  const found = Array.from({ length: GROUPS }, () => []);
  names.forEach((name, row) => {
    const rank = quality(name, text, words);
    if (rank >= 0) found[rank].push(row);
  });
  const byLength = (i, j) => names[i].length - names[j].length || i - j;
  for (const group of found.slice(2)) group.sort(byLength);
  return found.flat();
}
