"""Many of labgrid's exporters in one process: `python -m lab.scale.exporters ADDRESS FILE...`.

Each file is one exporter's, named like it. A process each would need 50 MB and two seconds of processor.
"""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import grpc
from labgrid.remote.exporter import Exporter
from labgrid.remote.generated.labgrid_coordinator_pb2_grpc import CoordinatorStub


async def _all(address: str, files: list[Path]) -> None:
    runs = []
    for file in files:
        config = {
            "name": file.stem,
            "hostname": "127.0.0.1",
            "isolated": False,
            "coordinator": address,
            "resources": str(file),
        }
        exporter = Exporter(config)
        # gRPC would share one connection among all, and the coordinator knows an exporter by its connection
        exporter.channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        exporter.stub = CoordinatorStub(exporter.channel)
        runs.append(asyncio.create_task(exporter.run()))
        await asyncio.sleep(0)
    sys.stderr.write("exporters started\n")
    await asyncio.gather(*runs)


def main() -> None:
    """Export until the process is ended."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):  # they print their files
        asyncio.run(_all(sys.argv[1], [Path(name) for name in sys.argv[2:]]))


if __name__ == "__main__":
    main()
