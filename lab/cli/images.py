"""`cprlab images`: what the virtual bench is made of."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from lab.cli.console import answer, aside, print_json
from lab.errors import LabUsageError
from lab.images.progress import Progress

app = typer.Typer(no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def build(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all of them if none is named.")] = None,
    deb: Annotated[
        list[str] | None,
        typer.Option(
            help="With qemu: a build of Debian's, by version (10.0) or suite (sid).", metavar="VERSION"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build what is missing; what is in the cache stays. `qemu --deb VERSION` adds another QEMU."""
    from lab.images import Catalogue
    from lab.images.qemu_debian import ensure_debian_qemu

    names = list(names or [])
    if ("qemu" in names) != bool(deb):
        raise LabUsageError("another QEMU is built by: cprlab images build qemu --deb VERSION")
    catalogue = Catalogue()
    wanted = [name for name in names if name != "qemu"] if names else list(catalogue.recipes)
    with build_progress() as progress:
        built = {name: str(catalogue.ensure(name, progress).path) for name in wanted}
        for version in deb or ():
            tar = ensure_debian_qemu(version, progress, fresh=True).tar
            built[tar.parent.name.rpartition("-")[0]] = str(tar.parent)
    if as_json:
        print_json(built)
        return
    for name, path in built.items():
        print(f"{name}: {path}")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show what is cached, how big it is, and from which recipe it was made."""
    rows = cached()
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    table = Table("image", "state", "size", "built", "made from", box=None, pad_edge=False)
    for row in rows:
        size = "" if row["size_bytes"] is None else f"{row['size_bytes'] / 2**20:,.0f} MiB"
        table.add_row(row["image"], row["state"], size, row["created"] or "", ", ".join(row["recipe"]))
    answer().print(table)


@app.command()
def clean(
    everything: Annotated[bool, typer.Option("--all", help="Also what is current.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete images that no recipe makes any more; other QEMUs only with --all, Debian drops them soon."""
    from lab.images import Catalogue, store
    from lab.images.qemu_debian import with_debian_qemus

    catalogue = with_debian_qemus(Catalogue())
    keys = catalogue.keys()
    gone = [e for e in catalogue.store.entries() if everything or keys.get(e.name) != e.key]
    for entry in gone:
        store.remove(entry.path)
    freed = sum(entry.size_bytes for entry in gone)
    if as_json:
        print_json({"removed": [entry.path.name for entry in gone], "freed_bytes": freed})
    else:
        print(f"removed {len(gone)} images, {freed / 2**20:,.0f} MiB")


def cached() -> list[dict[str, Any]]:
    """Every image: current ones, missing ones, and those of older recipes."""
    from lab.images import Catalogue
    from lab.images.qemu_debian import with_debian_qemus

    catalogue = with_debian_qemus(Catalogue())
    keys = catalogue.keys()
    entries = catalogue.store.entries()
    rows = []
    for entry in entries:
        state = "outdated" if keys.get(entry.name) != entry.key else "damaged" if entry.damage() else "ready"
        rows.append(
            {
                "image": f"{entry.name}-{entry.key}",
                "state": state,
                "size_bytes": entry.size_bytes,
                "created": entry.record.get("created"),
                "recipe": list(entry.record.get("recipe", {})),
                "path": str(entry.path),
            }
        )
    there = {row["image"] for row in rows}
    rows += [
        {
            "image": f"{name}-{key}",
            "state": "not built",
            "size_bytes": None,
            "created": None,
            "recipe": list(catalogue.recipes[name].files),
            "path": None,
        }
        for name, key in keys.items()
        if f"{name}-{key}" not in there
    ]
    return sorted(rows, key=lambda row: str(row["image"]))


@contextmanager
def build_progress() -> Iterator[Progress]:
    """A bar on a terminal, plain lines elsewhere."""
    from lab.images import PlainProgress

    console = aside()
    if not console.is_terminal:
        yield PlainProgress()
        return
    from lab.cli.progress import RichProgress

    with RichProgress(console) as progress:
        yield progress
