"""What a script prints for its caller: one line for each check."""

import sys
import traceback

_failed = 0


def check(name, body):
    """Runs `body`; whatever it raises fails the check."""
    global _failed
    try:
        body()
        print(f"ok {name}", flush=True)
    except Exception as error:  # every fault is a verdict here
        _failed += 1
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"FAILED {name}: {text} (line {where.lineno} of {where.name})", flush=True)


def equal(got, wanted, what):
    if got != wanted:
        raise AssertionError(f"{what}: {got!r} instead of {wanted!r}")


def finish():
    sys.exit(1 if _failed else 0)
