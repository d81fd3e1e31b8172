import asyncio
import time

from pointsman.gateway.tasks import end


async def test_tasks_are_ended() -> None:
    async def work() -> None:
        await asyncio.sleep(60)

    tasks = [asyncio.create_task(work()) for _ in range(3)]
    await asyncio.sleep(0)
    await end(*tasks)
    assert all(task.cancelled() for task in tasks)


async def test_a_task_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    lost = 0

    async def work() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
                if lost > 1:
                    raise

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await end(task)
    assert task.done()
    assert lost == 2


async def test_a_task_that_never_ends_is_left() -> None:
    stop = False

    async def work() -> None:
        while not stop:
            try:
                await asyncio.sleep(0.5)
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    began = time.monotonic()
    await end(task)
    assert 0.9 < time.monotonic() - began < 15
    stop = True
    await task
