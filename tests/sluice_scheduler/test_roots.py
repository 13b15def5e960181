"""What a daemon serves is kept by `sluice gc`, and given up when it is served no more."""

import json
import subprocess
import sys
from pathlib import Path

from sluice import roots
from sluice.digest import Digest
from sluice_scheduler import rooted

SERVED, OTHER = "test-echo-pt213-cpu", "test-other-pt213-cpu"
SLUICE = str(Path(sys.executable).parent / "sluice")


def collect(prefixes):
    done = subprocess.run(
        [SLUICE, "gc", "--prefixes", str(prefixes), "--json"], capture_output=True, text=True, check=True
    )
    return {one["name"]: (one["kept"], one["why"]) for one in json.loads(done.stdout)["verdicts"]}


def test_what_a_daemon_serves_is_kept_also_while_it_is_stopped(start, tmp_path):
    # The last `--prefixes` wins: a store of the test's own, which it may collect.
    own = ("--prefixes", str(tmp_path / "p"))
    with start(*own, environments=(SERVED, OTHER)) as daemon:
        daemon.wait_ready()
        state = daemon.state
        places = {one["name"]: Path(one["prefix"]) for one in daemon.http.get("/v1/environments").json()}
        assert daemon.answer("hello", environment=SERVED)["state"] == "succeeded"
    verdicts = collect(tmp_path / "p")
    for environment, prefix in places.items():
        assert verdicts[prefix.name] == (True, f"root {rooted.name(state, environment, 1)}")
    with start(*own) as daemon:
        daemon.wait_ready()
        assert f"root {rooted.name(state, OTHER, 1)} is dropped" in daemon.log()
        verdicts = collect(tmp_path / "p")
        assert verdicts[places[SERVED].name][0]
        assert not verdicts[places[OTHER].name][0]
        assert daemon.answer("still here")["state"] == "succeeded"
    assert [place.exists() for place in places.values()] == [True, False]


def test_roots_of_other_daemons_and_people_are_left(tmp_path):
    folder, lock = tmp_path / "p" / "roots", Digest("0" * 64)
    mine, yours = tmp_path / "mine", tmp_path / "yours"
    long = "a" * 128
    gone, kept = rooted.name(mine, "a", 1), rooted.name(mine, long, 10**9)
    for name in (gone, kept, rooted.name(yours, "a", 1), "scheduler", "a"):
        roots.add(folder, name, lock)
    assert rooted.name(mine, long, 1) != rooted.name(mine, long[:-1] + "b", 1)
    assert rooted.drop_others(tmp_path / "p", mine, {kept}) == (gone,)
    left = {root.name for root in roots.read(folder)}
    assert left == {kept, rooted.name(yours, "a", 1), "scheduler", "a"}
