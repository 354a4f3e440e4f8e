// CompresSAE in JavaScript, for browsers and Node: encode, search and read files, with the bits of the specification.
// README.md states the interface. No module but protocol.mjs needs Node.
export { Codes, PackedCodes, openCodes, openPackedCodes, pack } from "./codes.mjs";
export { CompressaeError, DTypeError, DomainError, FormatError, ShapeError, SourceError } from "./errors.mjs";
export { Model } from "./model.mjs";
export { openModel } from "./model_file.mjs";
export { truncate } from "./rows.mjs";
export { PackedIndex } from "./search.mjs";
export { codesFile, modelFile } from "./writer.mjs";
