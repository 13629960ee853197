"""Hosts that an operator says are switched off: a run goes on without them, if they are silent."""

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

from tasks.env import world
from tasks.refusal import CheckRefused

P = ParamSpec("P")
T = TypeVar("T")

_absent: ContextVar[tuple[str, ...]] = ContextVar("absent", default=())


def absent() -> tuple[str, ...]:
    """Return the hosts that the run in force does not count with."""
    return _absent.get()


def without_powered_off(function: Callable[P, T]) -> Callable[P, T]:
    """Let a flow's function count without the hosts that its parameter `powered_off` names.

    That they are off is for the flow to prove and for a person to attest: see tasks.powered_off.
    The function raises CheckRefused for names that are not hosts, or are all of them.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def counting(*args: P.args, **kwargs: P.kwargs) -> T:
        bound = signature.bind(*args, **kwargs)
        named = str(bound.arguments.get("powered_off") or "").split(",")
        names = tuple(name.strip() for name in named if name.strip())
        _require_some(str(bound.arguments["cluster"]), names)
        token = _absent.set(names)
        try:
            return function(*args, **kwargs)
        finally:
            _absent.reset(token)

    return counting


def _require_some(cluster: str, names: tuple[str, ...]) -> None:
    known = [host.name for host in world().inventory.cluster(cluster).hosts] if names else []
    unknown = [name for name in names if name not in known]
    if unknown or (names and not set(known) - set(names)):
        raise CheckRefused(
            f"no host {', '.join(unknown)} in the inventory" if unknown else "no host is left",
            f"choose of {', '.join(known)}, with commas between them",
        )
