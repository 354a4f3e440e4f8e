"""``python -m compressae_ref`` is the command ``compressae-ref``."""

import sys

from compressae_ref.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
