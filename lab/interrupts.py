"""Interrupts end a run in order, however it was started."""

import signal


def heed_termination() -> None:
    """Let SIGTERM end the run as Ctrl-C does, so that what it holds of others is released."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def heed() -> None:
    """Let SIGINT raise KeyboardInterrupt again where a shell has it ignored, as for a job in the background.

    Only then; Python itself does it otherwise. Else nobody could end a nightly run such that it gives
    its devices back.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
