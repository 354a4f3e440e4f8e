// What several parts of the page use: elements, and how numbers are written.

export const TOP = 10; // neighbours that are shown

export const $ = (id) => document.getElementById(id);

export function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export const sum = (values) => values.reduce((total, value) => total + value, 0);
export const number = (value) => value.toLocaleString("en");
export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e5 ? 2 : 1)} MB`;
export const words = (share, digits = 1) => (10 * share).toFixed(digits);
