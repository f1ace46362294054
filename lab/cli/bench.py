"""`cprlab bench`: a bench that stays up, to try things by hand."""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lab import bench_state
from lab.drivers import console as console_socket
from lab.drivers.ssh import HostConnection
from lab.errors import BenchError

app = typer.Typer(name="bench", help="A bench that stays up, to try things by hand.", no_args_is_help=True)

TargetFile = Annotated[Path, typer.Argument(help="The bench's target file.")]
Name = Annotated[str, typer.Option("--name", "-n", help="The bench: its target file's name without suffix.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]

_DEFAULT = Path(__file__).resolve().parents[2] / "targets/virtual.yaml"


@app.command()
def up(target_file: TargetFile = _DEFAULT, as_json: AsJson = False) -> None:
    """Power a bench on and leave it on until `down`."""
    with Console(stderr=True).status(f"powering on {target_file.stem} (10 s under TCG)"):
        state = bench_state.up(target_file)
    if as_json:
        print(state.dump())
    else:
        print(f"bench {state.name} is up: {state.endpoint}, console log {state.console_log or 'none'}")


@app.command()
def down(name: Name = "virtual") -> None:
    """Power a bench off."""
    print(f"bench {name} is down" if bench_state.down(name) else f"bench {name} was not up")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Which benches are up."""
    states = bench_state.states()
    if as_json:
        print(json.dumps([json.loads(state.dump()) for state in states], indent=1))
        return
    for state in states:
        print(
            f"{state.name}  {state.endpoint}  since {state.since}  console log {state.console_log or 'none'}"
        )
    if not states:
        print("no bench is up")


@app.command(context_settings={"ignore_unknown_options": True})
def ssh(
    command: Annotated[list[str] | None, typer.Argument(help="A command; none for a shell.")] = None,
    name: Name = "virtual",
) -> None:
    """Log in to a bench host, or run a command there; its exit status is passed on."""
    state = bench_state.get(name)
    if shutil.which("ssh"):
        sys.stdout.flush()
        argv = ssh_argv(state, command or [])
        os.execvp(argv[0], argv)
    if not command:
        raise BenchError(
            "ssh not found on this controller; apt-get install openssh-client, or give a command"
        )
    with HostConnection(state.endpoint) as host:
        done = host.run(command, timeout_s=3600)
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    raise typer.Exit(done.returncode)


@app.command()
def console(
    name: Name = "virtual",
    attach: Annotated[bool, typer.Option(help="Type into it too; Ctrl-] leaves.")] = False,
    follow: Annotated[bool, typer.Option(help="Go on printing; Ctrl-C ends.")] = True,
) -> None:
    """Print a bench host's console from power on."""
    state = bench_state.get(name)
    if not state.console_log:
        raise BenchError(
            f"the console of bench {name} is not logged here: its target file has no SerialConsole"
        )
    if attach and not state.console:
        raise BenchError(
            f"the console of bench {name} is read by its holder; take the console server's own client"
        )
    if attach:
        assert state.console
        console_socket.attach(Path(state.console))
    else:
        console_socket.show(Path(state.console_log), follow, lambda: bench_state.find(name) is not None)


def ssh_argv(state: bench_state.BenchState, command: list[str]) -> list[str]:
    """OpenSSH's client, with the pinned key and nothing of the user's own configuration."""
    at = state.endpoint
    known_hosts = bench_state.folder() / f"{state.name}.known_hosts"
    known_hosts.write_text(f"[{at.host}]:{at.port} {at.host_key}\n{at.host} {at.host_key}\n")
    # fmt: off
    argv = [
        "ssh", "-F", "none", "-p", str(at.port), "-i", str(at.key_file),
        "-o", "IdentitiesOnly=yes",
        "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known_hosts}",
        f"{at.username}@{at.host}",
    ]
    # fmt: on
    return [*argv, "--", shlex.join(command)] if command else argv
