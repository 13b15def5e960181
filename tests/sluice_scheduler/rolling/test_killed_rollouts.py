"""kill -9 of a daemon in the middle of rollouts: the old generation is served afterwards, or the new.

SLUICE_KILLS says how often (5 where it is not set).
"""

import os
import random
import signal
import threading
import time
from contextlib import suppress

import httpx
import pytest

KILLS = int(os.environ.get("SLUICE_KILLS", "5"))
CLIENTS = 2
NAMES = ("one", "two", "three")


class Client(threading.Thread):
    """Asks without a pause until the daemon is gone."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url = url
        self.answers, self.wrong = [], []

    def run(self):
        body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}
        with suppress(httpx.TransportError), httpx.Client(base_url=self.url, trust_env=False) as http:
            while True:
                response = http.post("/v2/models/turn/infer", json=body)
                (self.answers if response.status_code == 200 else self.wrong).append(response.json())


def order(url):
    """Have the channel's lock deployed; whoever gives the order never hears of its end."""
    with suppress(httpx.TransportError):
        httpx.post(f"{url}/v1/environments/test-turn-pt213-cpu/deploy", json={}, trust_env=False, timeout=30)


def served(daemon, old, new):
    """Say which of two, each a lock and a name, is served after a kill; all that is written agrees with it."""
    one = daemon.environment()
    lock, name = old if one["lock"] == old[0] else new
    assert (one["lock"], daemon.tag()) == (lock, name)
    assert daemon.http.get("/v1/versions/verify").json()["whole"]
    last = next(entry for entry in daemon.versions() if entry["outcome"] != "refused")
    assert (last["lock"], last["generation"]) == (lock, one["generation"])
    shown = daemon.shown()
    assert shown["current"] == one["generation"] in {kept["number"] for kept in shown["generations"]}
    return lock, name


@pytest.mark.timeout(60 + 20 * KILLS)
def test_the_old_or_the_new_is_served_and_every_answer_is_of_one_of_them(follow, packed):
    chance, switched, answered = random.Random(KILLS), 0, 0
    packed.publish("three")
    with follow("--watch-seconds", "0") as daemon:
        old = new = packed.publish("one"), "one"
        began = time.monotonic()
        assert daemon.order("deploy").json()["outcome"] == "deployed"
        took = time.monotonic() - began
    for kill in range(KILLS + 1):
        with follow("--watch-seconds", "0") as daemon:
            before, old = old, served(daemon, old, new)
            switched += before != old
            if kill == KILLS:
                break
            name = NAMES[(NAMES.index(old[1]) + 1) % 3]
            new = packed.publish(name, remark=f"kill {kill}"), name
            url = str(daemon.http.base_url).rstrip("/")
            clients = [Client(url) for _ in range(CLIENTS)]
            ordering = threading.Thread(target=order, args=(url,))
            for thread in (*clients, ordering):
                thread.start()
            time.sleep(chance.uniform(0, 2 * took))  # longer than the one before: clients ask meanwhile
            assert daemon.daemon.end(signal.SIGKILL) == -signal.SIGKILL
            for thread in (*clients, ordering):
                thread.join(30)
            for client in clients:
                assert client.wrong == []
                told = [(one["model_version"], one["outputs"][0]["data"]) for one in client.answers]
                assert {*map(str, told)} <= {str((tag, [f"{tag}: x"])) for tag in (old[1], new[1])}
                first = next((at for at, (tag, _) in enumerate(told) if tag == new[1]), len(told))
                assert {tag for tag, _ in told[first:]} <= {
                    new[1]
                }  # once the new answers, the old does no more
                answered += len(told)
    print(  # noqa: T201 - shown with -s
        f"{KILLS} kills in rollouts of {took:.2f} s: {switched} times the new generation was served afterwards, "
        f"{KILLS - switched} times the old; {answered} answers"
    )
