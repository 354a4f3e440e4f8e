"""``python -m compressae_ref`` is the command ``compressae-ref``."""

import sys


def main() -> int:
    """Run the command line. Signals are handled first, because the imports take longer than many commands."""
    try:
        from compressae_ref.cli.interrupts import heed_signals

        with heed_signals(last=True):
            from compressae_ref.cli.main import main as run

            return run()
    except KeyboardInterrupt as interrupt:
        from compressae_ref.cli.interrupts import report_interrupt

        return report_interrupt(interrupt)


if __name__ == "__main__":
    sys.exit(main())
