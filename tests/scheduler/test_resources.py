from scheduler.resources import Allocatable, Requests


def container(name: str = "c", restart_policy: str = "", **requests: str) -> dict:
    made: dict = {"name": name, "resources": {"requests": requests}}
    if restart_policy:
        made["restartPolicy"] = restart_policy
    return made


def test_containers_add_up() -> None:
    asked = Requests({"containers": [container("a", cpu="100m", memory="1Gi"), container("b", cpu="0.5", memory="1M")]})
    assert (asked.cpu, asked.memory) == (600, 2**30 + 10**6)


def test_the_hungriest_init_container_counts_when_it_needs_more_than_all_containers() -> None:
    spec = {
        "containers": [container(cpu="1", memory="1Gi")],
        "initContainers": [container(cpu="2"), container(memory="3Gi")],
    }
    asked = Requests(spec)
    assert (asked.cpu, asked.memory) == (2000, 3 * 2**30)


def test_sidecars_count_with_containers_and_with_the_init_containers_after_them() -> None:
    spec = {
        "containers": [container("main", cpu="1")],
        "initContainers": [
            container("early", cpu="4"),
            container("sidecar", "Always", cpu="1"),
            container("late", cpu="4"),
        ],
    }
    assert Requests(spec).cpu == 5000


def test_overhead_comes_on_top() -> None:
    asked = Requests({"containers": [container(cpu="1")], "overhead": {"cpu": "250m", "memory": "120Mi"}})
    assert (asked.cpu, asked.memory) == (1250, 120 * 2**20)


def test_containers_without_requests_count_a_little_for_scoring_only() -> None:
    asked = Requests({"containers": [{"name": "a"}, container("b", cpu="1")]})
    assert (asked.cpu, asked.memory) == (1000, 0)
    assert (asked.nonzero_cpu, asked.nonzero_memory) == (1100, 2 * 200 * 2**20)


def test_extended_resources_are_kept_by_name() -> None:
    assert Requests({"containers": [container(**{"example.com/gpu": "2"})]}).extended == {"example.com/gpu": 2}


def test_a_pod_that_is_being_resized_holds_the_larger_of_wanted_and_actual() -> None:
    statuses = {"c": {"name": "c", "resources": {"requests": {"cpu": "2"}}}}
    assert Requests({"containers": [container(cpu="1", memory="1Gi")]}, statuses).cpu == 2000


def test_capacity_stands_in_for_allocatable() -> None:
    assert Allocatable({"status": {"capacity": {"cpu": "2", "pods": "10"}}}).cpu == 2000
