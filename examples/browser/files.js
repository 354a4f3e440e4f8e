// The files of the folder data: their bytes, counted as they arrive, and errors that name the file.

// Return what `read(bytes)` makes of a file; `onBytes(name, count)` gets the bytes that have arrived so far.
export function fromFile(name, read, onBytes) {
  return naming(name, async () => read(await bytesOf(name, onBytes)));
}

export async function naming(name, work) {
  try {
    return await work();
  } catch (cause) {
    throw new Error(cause.message.includes(name) ? cause.message : `data/${name}: ${cause.message}`, { cause });
  }
}

async function bytesOf(name, onBytes) {
  const response = await fetch(`data/${name}`).catch(() => { throw new Error("the request failed"); });
  if (!response.ok) throw new Error(`expected status 200, got ${response.status}`);
  const [reader, chunks] = [response.body.getReader(), []];
  for (let count = 0; ;) {
    const { done, value } = await reader.read().catch(() => { throw new Error(`the connection ended after ${count} bytes`); });
    if (done) return new Uint8Array(await new Blob(chunks).arrayBuffer());
    chunks.push(value);
    count += value.length;
    onBytes(name, count);
  }
}

// Some servers send .gz files with Content-Encoding: gzip, so that they arrive unpacked.
export async function unpacked(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const made = await new Response(stream).arrayBuffer().catch(() => { throw new Error("expected a whole gzip file"); });
  return new Uint8Array(made);
}

export function textOf(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("expected UTF-8 text");
  }
}
