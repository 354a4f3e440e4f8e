// The errors of all modules here. `name` is the class, as in the specification; `row` is the row at fault, from 0.
export class CompressaeError extends Error {
  constructor(message, { row, cause } = {}) {
    super(row === undefined ? message : `${message} (row ${row})`, { cause });
    this.name = new.target.name;
    this.row = row;
  }
}
export class FormatError extends CompressaeError {} // a file that is damaged, of another format, or inconsistent
export class DomainError extends CompressaeError {} // a value that is not allowed
export class ShapeError extends CompressaeError {} // arrays that do not fit together
export class DTypeError extends CompressaeError {} // an argument of another type
export class SourceError extends CompressaeError {} // bytes that could not be fetched

export function demand(condition, Kind, message, row) {
  if (!condition) throw new Kind(typeof message === "function" ? message() : message, { row });
}
