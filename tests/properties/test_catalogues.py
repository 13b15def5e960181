"""Over any history, the catalogue in SQLite answers as the one in memory."""

import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sluice.digest import Digest
from sluice_channel.catalogues.memory import MemoryCatalogue
from sluice_channel.catalogues.sqlite import SqliteCatalogue
from sluice_channel.entry import Package, Patch, Publish, Remove, Unyank, Yank, canonical
from sluice_channel.errors import ChannelError

CHANNELS = ("dev", "main")
SUBDIRS = ("linux-64", "noarch")
FILES = [
    f"{name}-{version}-0{end}" for name in ("a", "b") for version in (1, 2) for end in (".conda", ".tar.bz2")
]

places = st.tuples(st.sampled_from(SUBDIRS), st.sampled_from(FILES))


def package(place, salt):
    subdir, filename = place
    name, version, _ = filename.rsplit("-", 2)
    sha256 = Digest.of(f"{place}{salt}".encode())
    depends = ["b"] if salt else ["a >1"]
    record = {"name": name, "version": version, "depends": depends, "sha256": sha256.hex, "md5": "0" * 32}
    return Package(sha256, 1, subdir, filename, canonical(record), "{}", canonical({"summary": f"s{salt}"}))


changes = st.one_of(
    st.builds(Publish, st.builds(package, places, st.integers(0, 1))),
    st.builds(lambda place, reason: Yank(*place, reason), places, st.sampled_from(["x", "y"])),
    st.builds(lambda place: Unyank(*place), places),
    st.builds(lambda place: Remove(*place), places),
    st.builds(
        lambda place, fields: Patch.of(*place, fields), places, st.sampled_from([None, {"depends": ["b <2"]}])
    ),
)
batches = st.lists(changes, min_size=1, max_size=4, unique_by=lambda change: change.key)


class Histories(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "catalogue.sqlite"
        self.both = (MemoryCatalogue(), SqliteCatalogue(self.path))
        self.now = 0
        for catalogue in self.both:
            for name in CHANNELS:
                catalogue.create(name, now=0)

    def teardown(self):
        self.both[1].close()
        self.folder.cleanup()

    @rule(channel=st.sampled_from(CHANNELS), batch=batches)
    def change(self, channel, batch):
        self.now += 1
        answers = []
        for catalogue in self.both:
            try:
                answers.append(catalogue.change(channel, batch, now=self.now))
            except ChannelError as error:
                answers.append((type(error), str(error)))
        assert answers[0] == answers[1]

    @rule(channel=st.sampled_from(CHANNELS), number=st.integers(0, 12), dry_run=st.booleans())
    def forget(self, channel, number, dry_run):
        self.same("leaving", channel, number)
        self.same("forget", channel, number, dry_run=dry_run)

    @rule()
    def reopen(self):
        self.both[1].close()
        self.both = (self.both[0], SqliteCatalogue(self.path))

    @rule(channel=st.sampled_from(CHANNELS), data=st.data())
    def look_back(self, channel, data):
        at = data.draw(st.integers(0, self.both[0].channel(channel).generation))
        self.compare(channel, at)

    @invariant()
    def both_show_the_same_now(self):
        for channel in CHANNELS:
            self.compare(channel, None)
            self.same("generations", channel)
            self.same("search", channel, limit=99)
            for name in ("a", "b"):
                self.same("dependents", channel, name, limit=99)

    def compare(self, channel, at):
        self.same("subdirs", channel, at)
        for subdir in SUBDIRS:
            self.same("entries", channel, subdir, at)
            self.same("touched", channel, subdir, at)
            found = self.same("shards", channel, subdir, at)
            for digest in found.values() if not isinstance(found, tuple) else ():
                assert Digest.of(self.same("shard", channel, subdir, digest)) == digest

    def same(self, method, *arguments, **named):
        answers = []
        for catalogue in self.both:
            try:
                answer = getattr(catalogue, method)(*arguments, **named)
                answers.append(list(answer) if method == "entries" else answer)
            except ChannelError as error:
                answers.append((type(error), str(error)))
        assert answers[0] == answers[1]
        return answers[0]


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)
