"""The case that `test_places` has run on a place: something is changed on the host, and time passes.

Its name keeps pytest from collecting it by itself.
"""

import os
from pathlib import Path

from lab.bench import Bench
from lab.waiting import wait_until


def test_a_nic_is_given_to_vfio(bench: Bench) -> None:
    folder = Path(os.environ["CPRLAB_TEST_FOLDER"])
    with bench.agent() as agent:
        agent.bind(bench.function("nic").bdf)
        (folder / "began").touch()
        wait_until((folder / "go on").exists, 300.0, "leave to go on")
        agent.give_back(bench.function("nic").bdf)
