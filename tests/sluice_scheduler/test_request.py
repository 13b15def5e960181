"""What a submission asks for, without a server."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler import request, tensors
from sluice_scheduler.errors import RequestError
from sluice_scheduler.job import Change, Job
from sluice_scheduler.request import MAX_KEY, MAX_TASKS, Request, header_key, parse
from sluice_scheduler.tensors import InputError

TEXT = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x"]}
TASK = {"model": "echo", "inputs": [TEXT]}


def read(document, header=()):
    return parse(json.dumps(document).encode(), header)


def job(asked, **more):
    return Job(
        **{
            "id": "a",
            "lane": "env",
            "model": asked.model,
            "priority": asked.priority,
            "rank": 1.0,
            "enqueued_at": 1.7e9,
            "input_digest": tensors.digest(asked.inputs),
            "deadline": None if asked.deadline is None else 1.7e9 + asked.deadline,
            **more,
        }
    )


def test_one_task_and_its_defaults():
    asked = read(TASK)
    assert (asked.model, asked.priority, asked.environment) == ("echo", 5, None)
    assert (asked.deadline, asked.key, asked.id("")) == (None, None, None)


def test_several_tasks_keep_their_order():
    asked = read({"tasks": [{**TASK, "priority": number} for number in (3, 1, 2)]})
    assert [one.priority for one in asked] == [3, 1, 2]


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ([], "a list of 1 to 1000 tasks, not 0"),
        ([TASK] * (MAX_TASKS + 1), "1 to 1000 tasks, not 1001"),
        ({}, "1 to 1000 tasks, not an object"),
        ([TASK, 7], r"tasks\[1\]: a task is an object"),
        ([TASK, TASK, {**TASK, "priority": 10}], r"tasks\[2\]: priority"),
        ([{**TASK, "tasks": []}], r"tasks\[0\]: unknown key 'tasks'"),
        ([{**TASK, "idempotency_key": "k"}] * 2, r"tasks\[1\]: its idempotency_key is that of another"),
    ],
    ids=["none", "many", "object", "number", "priority", "nested", "key twice"],
)
def test_bad_lists_say_which_task_is_wrong(tasks, told):
    with pytest.raises(RequestError, match=told):
        read({"tasks": tasks})


def test_a_bad_tensor_of_several_stays_one():
    with pytest.raises(InputError, match=r"tasks\[1\]: tensor 'text' is given twice"):
        read({"tasks": [TASK, {**TASK, "inputs": [TEXT, TEXT]}]})


@pytest.mark.parametrize(
    "deadline", [0, -1, 1e9, "1", True, 10**300, [1]], ids=["0", "-1", "1e9", "text", "true", "huge", "list"]
)
def test_a_deadline_that_is_none_is_refused(deadline):
    with pytest.raises(RequestError, match="deadline_seconds is a number above 0"):
        read({**TASK, "deadline_seconds": deadline})


def test_a_deadline_is_in_seconds_from_now():
    assert read({**TASK, "deadline_seconds": 2}).deadline == 2.0


@pytest.mark.parametrize(
    ("given", "key"),
    [("abc", "abc"), ('"abc"', "abc"), ('"a\\"b\\\\c"', 'a"b\\c'), (' "x" ', "x"), ('"', '"')],
    ids=["bare", "quoted", "escaped", "spaces", "one quote"],
)
def test_a_header_is_a_key_or_a_quoted_one(given, key):
    assert header_key([given]) == key


@pytest.mark.parametrize(
    "given",
    [[""], ['""'], ["a" * (MAX_KEY + 1)], ["\xe9"], ["a\tb"], ["a", "a"]],
    ids=["empty", "quotes", "long", "latin", "tab", "twice"],
)
def test_a_header_that_is_no_key_is_refused(given):
    with pytest.raises(RequestError):
        header_key(given)


def test_a_key_comes_from_the_header_or_the_body_and_only_once():
    asked = read(TASK, ["k"])
    assert asked.key == read({**TASK, "idempotency_key": "k"}).key == "k"
    assert read({**TASK, "idempotency_key": "k"}, ["k"]) == asked
    with pytest.raises(RequestError, match="differ"):
        read({**TASK, "idempotency_key": "other"}, ["k"])
    with pytest.raises(RequestError, match="is for one task"):
        read({"tasks": [TASK]}, ["k"])


keys = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=MAX_KEY)


@given(keys, keys, st.text(max_size=20), st.text(max_size=20))
def test_an_id_follows_from_tenant_and_key(one, other, tenant, stranger):
    first, second = (read({**TASK, "idempotency_key": key}) for key in (one, other))
    assert len(first.id(tenant)) == 24
    assert (first.id(tenant) == second.id(tenant)) == (one == other)
    assert (first.id(tenant) == first.id(stranger)) == (tenant == stranger)


@given(st.one_of(st.none(), st.floats(0.001, 1e6)), st.integers(1, 9))
def test_a_request_matches_the_job_it_made(deadline, priority):
    asked = read({**TASK, "deadline_seconds": deadline, "priority": priority})
    assert asked.matches(job(asked))


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"priority": 6},
        {"environment": "other"},
        {"deadline_seconds": 2},
        {"inputs": [{**TEXT, "data": ["y"]}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_request_matches_no_other_job(change):
    asked = read({**TASK, **change})
    assert not asked.matches(job(read(TASK)))


def test_a_priority_that_a_rule_changed_still_matches():
    asked = read(TASK)
    kept = job(asked, priority=2)
    assert not asked.matches(kept)
    assert asked.matches(kept, [Change(1.0, 5, 4, "load"), Change(2.0, 4, 2, "load")])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body):
    with pytest.raises((RequestError, InputError)):
        parse(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*request.KEYS, "tasks", "x"]), inner, max_size=4)
        ),
        max_leaves=8,
    )
)
def test_any_document_is_read_or_refused(document):
    try:
        asked = read(document)
    except (RequestError, InputError) as error:
        asked = str(error)
    assert isinstance(asked, Request | tuple) or "\n" not in asked
