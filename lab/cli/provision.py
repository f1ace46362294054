"""`cprlab provision`: a real host into the bench image, and back."""

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.console import aside, print_json
from lab.errors import LabUsageError


def provision(
    target_file: Annotated[Path, typer.Argument(help="The bench's target file; of a real host.")],
    back: Annotated[bool, typer.Option("--back", help="Boot the host's own system again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Boot a real host into the bench image by kexec over ssh, all of it in RAM, and check every file.

    The host keeps its address, its ssh keys and its disks; any reboot leads back to its own system. One that
    does not come back is switched by its BMC or PDU at the next use.
    """
    from lab import provision as work
    from lab.bench import prepared
    from lab.cli.images import build_progress
    from lab.images import Catalogue
    from lab.images.provisioned import RECIPE

    console = aside()

    def tell(step: str) -> None:
        console.print(step, markup=False, highlight=False, soft_wrap=True)

    bench = prepared(target_file)
    if bench.virtual is not None:
        raise LabUsageError(f"{target_file} is a virtual bench: it is made of these images at each power on")
    if not back:
        with build_progress() as progress:
            for name in ("kernel", RECIPE.name):
                Catalogue().with_recipes([RECIPE]).ensure(name, progress)
    try:
        tell(f"connecting to {bench.name}")
        bench.ready()
        found = work.back(bench, tell) if back else work.provision(bench, work.bench_image(), tell)
    finally:
        bench.environment.cleanup()
    if as_json:
        print_json({key: value for key, value in found.items() if key != "came_from"})
        return
    digest, files = found["digest"], found["files"]
    what = (
        f"the bench image {digest[:12]}, {files} files compared" if digest else f"its own, on {found['root']}"
    )
    print(f"bench {bench.name} runs {found['release']}: {what}")
