"""Write the vectors, or with ``--check`` list the files that would change."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spec.generate.everything import FOLDER, all_files


def main() -> int:
    """Write or check the files; return 1 if ``--check`` finds a difference, else 0."""
    parser = argparse.ArgumentParser(prog="python -m spec.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    parser.add_argument("--fresh", action="store_true", help="also recompute the digests of a million cases")
    options = parser.parse_args()
    made = all_files(options.fresh)
    stale = sorted(name for name, content in made.items() if not _same(FOLDER / name, content))
    known = {path.relative_to(FOLDER).as_posix() for path in (FOLDER / "vectors").rglob("*") if path.is_file()}
    left_over = sorted(known - set(made))
    if options.check:
        for name in [*stale, *left_over]:
            print(f"{name} is not what python -m spec.generate makes", file=sys.stderr)
        return 1 if stale or left_over else 0
    for name in left_over:
        (FOLDER / name).unlink()
    for name in stale:
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_bytes(made[name])
    print(f"{len(made)} files, {sum(map(len, made.values())):,} bytes; {len(stale)} changed")
    return 0


def _same(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content


if __name__ == "__main__":
    sys.exit(main())
