from scheduler.event import Event
from scheduler.node import NodeInfo
from scheduler.plugins import default_plugins
from scheduler.queue import ACTIVE, BACKOFF, GATED, UNSCHEDULABLE, QueuedPod, SchedulingQueue
from tests.scheduler.objects import info, node


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Queue(SchedulingQueue):
    def __init__(self) -> None:
        self.clock = Clock()
        self.woken = 0
        super().__init__(default_plugins(), self.clock, on_change=self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def fail(self, name: str, *plugins: str, **kwargs: object) -> QueuedPod:
        """Adds a pod and lets its attempt fail."""
        self.add(info(name, **kwargs))
        pod = self.pop()
        assert pod is not None
        self.reject(pod, frozenset(plugins))
        return pod

    def drain(self) -> list[str]:
        names = []
        while (pod := self.pop()) is not None:
            names.append(pod.info.name)
            self.done(pod)
        return names


def node_info(**kwargs: object) -> NodeInfo:
    made = NodeInfo("n")
    made.set_node(node("n", **kwargs))
    return made


def test_the_highest_priority_comes_first_then_the_longest_waiting() -> None:
    queue = Queue()
    for name, priority in (("old", 0), ("new", 0), ("urgent", 10)):
        queue.add(info(name, priority=priority))
        queue.clock.now += 1
    assert queue.drain() == ["urgent", "old", "new"]


def test_a_deleted_pod_is_not_tried() -> None:
    queue = Queue()
    queue.add(info("a"))
    queue.delete("uid-a")
    assert queue.pop() is None


def test_an_unschedulable_pod_waits_for_an_event_that_its_plugin_cares_about() -> None:
    queue = Queue()
    pod = queue.fail("a", "NodeResourcesFit", requests={"cpu": "2"})
    queue.clock.now += 60
    queue.move(Event.NODE_LABELS, None, node_info())
    queue.move(Event.POD_ADD, None, info("other"))
    queue.move(Event.NODE_ADD, None, node_info(cpu="1"))
    assert pod.place == UNSCHEDULABLE
    queue.move(Event.NODE_ADD, None, node_info(cpu="2"))
    assert pod.place == ACTIVE


def test_a_pod_that_has_just_failed_is_barred_for_a_second_then_for_longer() -> None:
    queue = Queue()
    pod = queue.fail("a", "NodeResourcesFit")
    queue.move(Event.POD_DELETE, info("other"), None)
    assert pod.place == BACKOFF
    assert queue.next_deadline() == queue.clock.now + 1
    queue.flush()
    assert pod.place == BACKOFF
    queue.clock.now += 1
    queue.flush()
    assert queue.pop() is pod
    queue.retry(pod)
    assert queue.next_deadline() == queue.clock.now + 2
    for _ in range(10):
        queue.clock.now += 20
        queue.flush()
        assert queue.pop() is pod
        queue.retry(pod)
    assert queue.next_deadline() == queue.clock.now + 10


def test_a_move_into_backoff_tells_of_the_new_deadline() -> None:
    queue = Queue()
    queue.fail("a", "NodeResourcesFit")
    before = queue.woken
    queue.move(Event.POD_DELETE, info("other"), None)
    assert queue.woken == before + 1


def test_an_unschedulable_pod_is_tried_again_after_five_minutes_without_news() -> None:
    queue = Queue()
    pod = queue.fail("a", "NodeResourcesFit")
    assert queue.next_deadline() == queue.clock.now + 300
    queue.clock.now += 299
    queue.flush()
    assert pod.place == UNSCHEDULABLE
    queue.clock.now += 1
    queue.flush()
    assert pod.place == ACTIVE


def test_a_gated_pod_waits_for_its_gates_to_go_and_for_nothing_else() -> None:
    queue = Queue()
    queue.add(info("a", schedulingGates=[{"name": "example.com/quota"}]))
    queue.move(Event.NODE_ADD, None, node_info())
    queue.clock.now += 1000
    queue.flush()
    assert queue.pop() is None
    assert queue.sizes() == {ACTIVE: 0, BACKOFF: 0, UNSCHEDULABLE: 0, GATED: 1}
    queue.update(info("a"))
    assert queue.drain() == ["a"]


def test_a_pod_that_changes_itself_is_reconsidered_but_not_for_its_status() -> None:
    queue = Queue()
    pod = queue.fail("a", "TaintToleration")
    queue.clock.now += 10
    queue.update(info("a", status={"conditions": [{"type": "PodScheduled", "status": "False"}]}))
    assert pod.place == UNSCHEDULABLE
    queue.update(info("a", tolerations=[{"operator": "Exists"}]))
    assert pod.place == ACTIVE


def test_a_pod_that_no_plugin_rejected_is_moved_by_any_event() -> None:
    queue = Queue()
    pod = queue.fail("a")
    queue.clock.now += 10
    queue.move(Event.NODE_ADD, None, node_info())
    assert pod.place == ACTIVE


def test_a_pod_deleted_while_in_flight_does_not_come_back() -> None:
    queue = Queue()
    queue.add(info("a"))
    pod = queue.pop()
    assert pod is not None
    queue.delete("uid-a")
    queue.reject(pod, frozenset())
    queue.retry(pod)
    assert "uid-a" not in queue
    assert queue.next_deadline() is None


def test_activation_overrules_the_plugins() -> None:
    queue = Queue()
    pod = queue.fail("a", "NodeName")
    queue.clock.now += 10
    queue.activate({"uid-a", "uid-unknown"})
    assert pod.place == ACTIVE
