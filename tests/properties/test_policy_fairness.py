"""Start-time fair queueing: shares within the stated bound, nobody delayed alone, nothing starved, rebuilt by ranks."""

import heapq
import itertools

from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler import policy
from sluice_scheduler.fairness import Fairness

AGEING = 60.0
LANE = "lane"
costs = st.integers(1, 50).map(float)
weights = st.integers(1, 8).map(float)
priorities = st.integers(policy.HIGHEST, policy.LOWEST)
FAR = 1e9  # seconds: a horizon that no tag reaches


def fairness(weigh=None, horizon=FAR):
    made = Fairness(ageing=AGEING)
    made.weigh(weigh or {}, horizon)
    return made


class Lane:
    """One server that runs the lowest rank first."""

    def __init__(self, fair):
        self.fair = fair
        self.now = 1000.0
        self.queue = []
        self.order = itertools.count()
        self.started = []

    def put(self, tenant, cost, priority=5):
        start = self.fair.start(LANE, tenant, priority, self.now)
        rank = policy.rank(start, priority, AGEING)
        self.fair.queued(LANE, tenant, priority, rank, cost)
        heapq.heappush(self.queue, (rank, next(self.order), tenant, cost, priority, self.now))

    def serve(self):
        rank, order, tenant, cost, priority, at = heapq.heappop(self.queue)
        self.fair.started(LANE, priority, rank)
        self.fair.left(LANE, tenant)
        self.now += cost
        self.started.append((order, tenant, at, rank))
        return tenant, cost

    def waits(self, tenant):
        return any(one[2] == tenant for one in self.queue)


actions = st.lists(st.one_of(st.tuples(st.sampled_from("ab"), costs), st.just(None)), max_size=60)


@given(st.tuples(weights, weights), actions, actions)
def test_two_backlogged_tenants_are_served_by_their_weights_within_the_bound(given_weights, before, during):
    weigh = dict(zip("ab", given_weights, strict=True))
    lane, largest = Lane(fairness(weigh)), dict.fromkeys("ab", 0.0)
    served = dict.fromkeys("ab", 0.0)
    for action in [*before, *during, *[None] * 200]:
        if action is None:
            if not lane.queue:
                continue
            both = lane.waits("a") and lane.waits("b")
            tenant, cost = lane.serve()
            if not both:
                served = dict.fromkeys("ab", 0.0)
                continue
            served[tenant] += cost
            bound = sum(largest[name] / weigh[name] for name in "ab")
            assert abs(served["a"] / weigh["a"] - served["b"] / weigh["b"]) <= bound * (1 + 1e-9)
        else:
            tenant, cost = action
            largest[tenant] = max(largest[tenant], cost)
            lane.put(tenant, cost)


@given(st.lists(st.one_of(st.tuples(costs, priorities), st.none()), max_size=60))
def test_work_without_a_tenant_that_is_alone_is_ranked_as_if_there_were_no_tenants(script):
    lane = Lane(fairness())
    for action in script:
        if action is not None:
            cost, priority = action
            assert lane.fair.start(LANE, "", priority, lane.now) == lane.now
            lane.put("", cost, priority)
        elif lane.queue:
            lane.serve()


@given(st.lists(st.one_of(costs, st.none()), max_size=60), priorities)
def test_a_lone_tenant_is_served_in_the_order_of_arrival_and_never_waits_for_nobody(script, priority):
    lane = Lane(fairness())
    for action in script:
        if action is not None:
            lane.put("a", action, priority)
        elif lane.queue:
            lane.serve()
    while lane.queue:
        lane.serve()
    assert [order for order, *_ in lane.started] == sorted(order for order, *_ in lane.started)


@given(st.lists(st.tuples(costs, st.integers(6, 9)), max_size=30), costs)
def test_what_a_tenant_has_waiting_at_low_priority_holds_back_nothing_urgent(waiting, cost):
    lane = Lane(fairness())
    lane.put("b", 1.0)  # several tenants wait
    before = lane.fair.start(LANE, "a", 1, lane.now)
    for one, priority in waiting:
        lane.put("a", one, priority)
    assert lane.fair.start(LANE, "a", 1, lane.now) <= max(before, lane.now)
    lane.put("a", cost, 1)


@given(
    st.lists(
        st.one_of(st.tuples(st.sampled_from(["", "a", "b", "c"]), costs, priorities), st.none()), max_size=80
    ),
    st.integers(0, 100).map(float),
)
def test_no_task_is_overtaken_by_one_that_arrives_later_than_the_printed_bound(script, horizon):
    lane = Lane(fairness({"a": 3.0}, horizon))
    for action in script:
        if action is None:
            if lane.queue:
                lane.serve()
        else:
            lane.put(*action)
    while lane.queue:
        lane.serve()
    bound = policy.longest_overtaking(AGEING, horizon)
    for place, (_, _, early, _) in enumerate(lane.started):
        for _, _, late, _ in lane.started[:place]:
            assert late - early <= bound + 1e-6


@given(st.lists(st.tuples(st.sampled_from("ab"), costs), max_size=40), st.integers(0, 20), st.randoms())
def test_after_a_restart_the_tags_follow_from_the_ranks(script, served, random):
    lane = Lane(fairness({"a": 2.0}))
    for tenant, cost in [("a", 1.0), ("b", 1.0), *script]:
        lane.put(tenant, cost)
    for _ in range(served):
        if lane.queue:
            lane.serve()
    again, waiting = fairness({"a": 2.0}), list(lane.queue)
    random.shuffle(waiting)
    for rank, _, tenant, cost, priority, _ in waiting:
        again.restored(LANE, tenant, priority, rank, cost)
    for tenant in "ab":
        if lane.waits("a") and lane.waits("b"):
            was, now = (fair.start(LANE, tenant, 5, lane.now) for fair in (lane.fair, again))
            assert abs(was - now) < 1e-6


def test_a_lane_that_was_empty_begins_anew():
    lane = Lane(fairness())
    for _ in range(9):
        lane.put("a", 50.0)
    lane.put("b", 1.0)
    while lane.queue:
        lane.serve()
    assert lane.fair.start(LANE, "a", 5, lane.now) == lane.now
