"""`cprlab discover`: what a host has to give to guests, written down as a target file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lab.cli.console import answer, aside, print_json
from lab.errors import LabUsageError

if TYPE_CHECKING:
    from lab.discovery.writing import Written

SshPort = Annotated[int, typer.Option("--port", help="Of ssh.", min=1, max=65535)]
HostKey = Annotated[
    str,
    typer.Option(help="The host's public key, 'ssh-ed25519 AAAA...'; by default from ~/.ssh/known_hosts."),
]
KeyFile = Annotated[Path, typer.Option(help="Our private key.", metavar="FILE")]
KEY_FILE = Path("~/.ssh/id_ed25519")


def discover(
    host: Annotated[
        str, typer.Argument(help="The host, by ssh as root: root@bench-a.example.org.", metavar="[HOST]")
    ] = "",
    bench: Annotated[
        Path | None,
        typer.Option(
            help="In place of HOST, the host of this target file; its machine, names and wires are kept.",
            metavar="TARGET",
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Of the bench; by default the host's, or TARGET-discovered.")
    ] = "",
    out: Annotated[
        Path, typer.Option(help="Where NAME.yaml and exporters/NAME.yaml go.", metavar="FOLDER")
    ] = Path("targets"),
    port: SshPort = 22,
    host_key: HostKey = "",
    key_file: KeyFile = KEY_FILE,
    force: Annotated[bool, typer.Option(help="Write over files of that name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: everything that was found.")] = False,
) -> None:
    """Read a host and write its target file and labgrid exporter file.

    Nothing is changed on the host. What must not be touched is left out, with the reason beside it: what its
    network and its disks stand on, groups that are not whole, what cannot be reset or has no load here.

    Exit status: 0; 2 if the host cannot be read, or a file is there already.
    """
    from lab.discovery import writing
    from lab.host_reach import endpoint

    if bool(host) == (bench is not None):
        raise LabUsageError("either HOST or --bench TARGET was expected: cprlab discover root@bench-a")
    how = f"cprlab discover {host or f'--bench {bench}'}"
    with aside().status("reading the host"):
        if bench is not None:
            written = writing.discovered_again(bench, name, out, how, force=force)
        else:
            where = endpoint(host, port, host_key, key_file)
            written = writing.discovered(where, name, out, how, force=force)
    if as_json:
        print_json(_as_data(written))
    else:
        _print(written)


def _as_data(written: "Written") -> dict[str, object]:
    found = written.found
    return {
        "name": written.name,
        "target_file": str(written.target),
        "exporter_file": str(written.exporter) if written.exporter else None,
        "offered": [
            {"name": offer.name, "bdf": offer.function["bdf"], "doubts": list(offer.doubts)}
            for offer in found.offers
        ],
        "kept_out": [{"bdf": one.function["bdf"], "reasons": list(one.reasons)} for one in found.kept_out],
        "survey": found.survey,
    }


def _print(written: "Written") -> None:
    from rich.table import Table

    table = Table("function", "address", "", "device, or why not", box=None, pad_edge=False)
    for offer in written.found.offers:
        mark = "[yellow]switched off[/]" if offer.doubts else "[green]offered[/]"
        words = "; ".join(offer.doubts) or offer.function["model"] or offer.function["ids"]
        table.add_row(offer.name, offer.function["bdf"], mark, escape(words))
    for one in written.found.kept_out:
        if one.function["is_bridge"]:
            continue
        table.add_row("", one.function["bdf"], "kept out", escape(one.reasons[0]))
    console = answer()
    console.print(table)
    console.print()
    console.print(f"target file:   {written.target}", markup=False)
    console.print(f"exporter file: {written.exporter or 'none: it is a virtual bench'}", markup=False)
    console.print(f"next: read it, do what it asks for; cprlab doctor --bench {written.target}", markup=False)
