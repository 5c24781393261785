"""Runs a script's checks one after the other, a line for each; those that are defined and not listed are a fault of the script."""

import asyncio
import inspect
import traceback

CHECK_S = 90


async def run(name, checks, defined, *arguments, parameter="url"):
    """The exit code. A check is a coroutine function with this parameter; `defined` are the script's globals."""
    takes_url = [each for each, value in defined.items() if inspect.iscoroutinefunction(value) and parameter in inspect.signature(value).parameters]
    listed = {check.__name__ for check in checks}
    assert listed == set(takes_url), listed ^ set(takes_url)
    failed = 0
    for check in checks:
        try:
            async with asyncio.timeout(CHECK_S):
                await check(*arguments)
            print(f"{name} {check.__name__} ... ok", flush=True)
        except Exception:
            failed += 1
            print(f"{name} {check.__name__} ... FAILED", flush=True)
            traceback.print_exc()
    print(f"{name}: {len(checks) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0
