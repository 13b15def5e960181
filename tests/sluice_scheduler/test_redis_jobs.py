"""What Redis keeps of a job reads back as it was."""

import json

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.digest import Digest
from sluice_scheduler.job import Job, Provenance, State, Submission
from sluice_scheduler.queues.redis_jobs import Move, ended, put_arguments, to_job, to_jobs

D = Digest("5" * 64)
times = st.floats(0, 1e12, allow_nan=False)
submissions = st.builds(
    Submission,
    id=st.text(min_size=1),
    lane=st.text(min_size=1),
    model=st.text(min_size=1),
    priority=st.integers(1, 9),
    rank=st.floats(allow_nan=False, allow_infinity=False),
    enqueued_at=times,
    input_digest=st.just(D),
    inputs=st.binary(),
    rows=st.integers(1, 4096),
    batch=st.text(),
    tenant=st.text(),
    deadline=st.none() | times,
    cost=st.floats(0, 1e9),
)


@given(submissions)
def test_a_submission_reads_back_as_its_job(new):
    name, length, *pairs, kind, inputs = put_arguments(new, new.inputs)
    assert (name, kind, inputs) == (new.id, "inputs", new.inputs)
    assert int(length) == len(pairs)
    assert to_job(["seq", "7", *pairs]) == replace(Job.of(new), inputs=None)


def test_nothing_reads_back_as_nothing():
    assert to_job({}) is None  # Lua's JSON of an empty table
    assert to_jobs(b"[{}, {}]") == ()


def test_a_move_lists_what_is_expected_given_and_lost():
    given_, data = ended(State.QUEUED, 9.0, error="gone")
    assert (given_, data) == ({"state": State.QUEUED, "lease_until": None}, {})
    move = Move("a", {"state": State.RUNNING, "attempts": 2}, given_, data, change="line")
    assert move.arguments() == [
        "a",
        *("4", "state", "running", "attempts", "2"),
        *("2", "state", "queued"),
        *("1", "lease_until"),
        *("0", "line"),
    ]


def test_what_ended_has_its_error_and_provenance():
    provenance = Provenance(D, D, D, D, "http://c/l", {"threads": 1}, D)
    given_, data = ended(State.FAILED, 9.5, error="no", provenance=provenance)
    assert given_ == {"state": State.FAILED, "lease_until": None, "finished_at": 9.5}
    pairs = [part for pair in {"finished_at": "9.5", "state": "failed", **data}.items() for part in pair]
    new = Submission("a", "l", "m", 5, 1.0, 1.0, D, b"")
    kept = put_arguments(new, new.inputs)[2:-2]
    (job,) = to_jobs(json.dumps([[*kept, *pairs]]).encode())
    assert (job.state, job.error, job.provenance, job.finished_at) == (State.FAILED, "no", provenance, 9.5)
