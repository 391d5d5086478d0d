"""The command line: one thin file per verb."""

__all__ = ["leave", "main"]

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells count it: 128 and the number of the signal."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit, with the statuses that `servetwin.cli.app.main` names.

    From the first moment on Ctrl-C ends the process at once, but for what
    `servetwin.cli.interrupts.in_order` encloses; hence no import stands above this.
    """
    import signal

    # Ignored is how a shell starts what runs in the background.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, leave)
    from servetwin.cli.app import main as run
    from servetwin.cli.interrupts import abandon_threads

    try:
        run(args)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            abandon_threads(INTERRUPTED)
        raise


def leave(*_: object) -> None:
    """End the process at once: a handler of Ctrl-C."""
    import os

    try:
        os.write(2, b"servetwin: interrupted\n")
    finally:
        os._exit(INTERRUPTED)
