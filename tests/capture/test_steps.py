"""Jobs: side by side, within their limits, and never lost."""

from __future__ import annotations

import threading
import time

from diag.capture.steps import Item, Job, Output, Step, UnavailableError, run_jobs


def step(path: str, content: bytes = b"x", *, after: float = 0.0) -> Step:
    def run() -> Output:
        time.sleep(after)
        return Output(content, 0, "warning")

    return Step(path, f"cat {path}", run)


def by_path(items: list[Item]) -> dict[str, Item]:
    assert len({item.path for item in items}) == len(items)
    return {item.path: item for item in items}


def test_every_step_gives_an_item() -> None:
    def refuse() -> Output:
        raise UnavailableError("there is none")

    def deny() -> Output:
        raise PermissionError(13, "Permission denied", "/x")

    def crash() -> Output:
        raise KeyError("no")

    steps = (step("a"), Step("b", "b", refuse), Step("c", "c", deny), Step("d", "d", crash), step("e"))
    items = by_path(run_jobs([Job("all", steps)], limit=5))
    assert items["a"].content == b"x"
    assert (items["a"].record.command, items["a"].record.exit_status, items["a"].record.stderr) == (
        "cat a",
        0,
        "warning",
    )
    assert items["a"].record.duration >= 0
    assert items["b"].content is None
    assert items["b"].record.error == "there is none"
    assert items["c"].record.error == "no permission for /x: run as root"
    assert items["d"].record.error == "internal error: KeyError: 'no'"
    assert items["e"].content == b"x"


def test_nothing_is_no_gap_and_another_form_is_another_file() -> None:
    steps = (Step("a", "a", lambda: None), Step("b", "b", lambda: Output(b"1", path="c", incomplete="half")))
    items = by_path(run_jobs([Job("all", steps)], limit=5))
    assert (items["a"].content, items["a"].record.error) == (None, "")
    assert (items["c"].content, items["c"].record.error) == (b"1", "half")


def test_an_obstacle_stops_all_steps() -> None:
    def before() -> None:
        raise UnavailableError("locked")

    items = run_jobs([Job("j", (step("a"), step("b")), before=before)], limit=5)
    assert [item.record.error for item in items] == ["locked", "locked"]


def test_a_job_that_hangs_is_left_behind() -> None:
    started = time.monotonic()
    jobs = [Job("slow", (step("a"), step("b", after=30), step("c")), limit=0.3), Job("fast", (step("d"),))]
    items = by_path(run_jobs(jobs, limit=20))
    assert time.monotonic() - started < 5
    assert items["a"].content == items["d"].content == b"x"
    for path in ("b", "c"):
        assert items[path].record.error == "not done within the time limit of 0.3 s"


def test_the_whole_is_limited_too() -> None:
    started = time.monotonic()
    jobs = [Job(f"j{i}", (step(f"p{i}", after=0.0 if i == 0 else 30),)) for i in range(10)]
    items = by_path(run_jobs(jobs, limit=0.5, workers=2))
    assert time.monotonic() - started < 5
    assert items["p0"].content == b"x"
    assert len(items) == 10
    assert "0.5 s for the whole capture" in items["p9"].record.error


def test_jobs_make_jobs() -> None:
    seen: list[tuple[str, int, int]] = []
    second = Job("second", (step("b"),))
    items = run_jobs(
        [Job("first", (step("a"),), then=lambda: [second])], limit=5, progress=lambda *told: seen.append(told)
    )
    assert {item.path for item in items} == {"a", "b"}
    assert seen == [("first", 1, 2), ("second", 2, 2)]


def test_each_job_has_a_thread_of_its_own() -> None:
    threads: list[int] = []
    lock = threading.Barrier(3, timeout=5)

    def run() -> Output:
        threads.append(threading.get_ident())
        lock.wait()
        return Output(b"")

    run_jobs([Job(f"j{i}", (Step(f"p{i}", "", run),)) for i in range(3)], limit=5, workers=3)
    assert len(set(threads)) == 3
    assert threading.get_ident() not in threads
