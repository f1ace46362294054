"""`cprlab`: the command of the lab.

Heavy imports live in the commands, so that `cprlab --help` answers at once.
"""

import errno
import sys
import traceback
from typing import NoReturn

import typer

from lab.errors import LabError
from lab.interrupts import heed

BROKEN = 2
INTERRUPTED = 130

HELP = """Tests QEMU live update (CPR) with assigned devices under DMA load.

\b
cprlab run       run the suite on the virtual bench; needs no hardware
cprlab doctor    what is missing on this machine
cprlab preflight what an update of a QEMU would lose, without trying it

Exit status: 0 all PASS, 1 a FAIL, 2 an UNKNOWN, a broken bench or wrong usage,
130 interrupted.
"""


def main() -> None:
    """Run the command; an error of the lab is one line on stderr and exit status 2."""
    heed()
    try:
        application(sys.argv[1:2])()
    except LabError as error:
        print(f"cprlab: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(BROKEN)
    except KeyboardInterrupt:
        print("cprlab: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # of `cprlab … | head`
        sys.stderr.close()
        sys.exit(BROKEN)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            _bug()
        print(f"cprlab: the disk is full: {error}", file=sys.stderr)
        sys.exit(BROKEN)
    except Exception:  # a bug of ours must not leave with 1, which says that QEMU failed
        _bug()


def _bug() -> NoReturn:
    traceback.print_exc()
    print("cprlab: this is a bug of cprlab; please report it with the lines above", file=sys.stderr)
    sys.exit(BROKEN)


def application(first: list[str]) -> typer.Typer:
    """The command line; labgrid is imported only if the first word asks for a bench."""
    from lab.cli import (
        benchmark,
        calibrate,
        discover,
        doctor,
        hosts,
        images,
        lab,
        pause,
        places,
        preflight,
        provision,
        records,
        restore,
        run,
    )

    app = typer.Typer(
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command("run")(run.run)
    app.command("rejudge")(records.rejudge)
    app.command("report")(records.report)
    app.command("pause")(pause.pause)
    app.command("calibrate")(calibrate.calibrate)
    app.command("benchmark")(benchmark.benchmark)
    app.command("doctor")(doctor.doctor)
    app.command("discover")(discover.discover)
    app.command("restore")(restore.restore)
    app.add_typer(hosts.app, name="hosts", help="Which hosts may be used, and why not the others.")
    app.command("places")(places.places)
    app.command("preflight")(preflight.preflight)
    app.command("provision")(provision.provision)
    app.add_typer(lab.app, name="lab", help="A whole lab on this machine: to see it, and to measure it.")
    app.add_typer(images.app, name="images", help="What the virtual bench is made of: build, list, clean.")
    app.add_typer(_bench(first), name="bench", help="A bench that stays up, to try things by hand.")
    return app


def _bench(first: list[str]) -> typer.Typer:
    if first != ["bench"]:
        return typer.Typer(no_args_is_help=True)
    from lab.cli.bench import app

    return app
