"""The same function over many items on a Ray cluster that others operate, whatever dies there.

Plain tasks of Ray: an item is what is lost when a machine goes, and what is done again. Results are small, so that
nothing here fills a cluster's object store. All of its machines must have this package, and see the same folders.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from emogram.errors import EmogramError, MissingExtraError, SettingsError
from emogram.progress import SILENT, Progress
from emogram.relay import Messages
from emogram.silenced import silence

Item = TypeVar("Item")
Result = TypeVar("Result")

EXTRA = "cluster"
TRIES = 5  # an item whose worker is lost so often is given up
AHEAD = 2  # tasks that are given to the cluster, for each of its processors: work must lie ready, and wait here
_LOOK_S = 0.25  # an interrupt must not wait for an item
_SAY_AFTER_S = 30.0  # without any processor

# What a worker must have as it is here, for the same results.
_VARIABLES = ("KERAS_BACKEND", "MPLBACKEND", "TF_CPP_MIN_LOG_LEVEL", "XLA_FLAGS")
_PREFIX = "EMOGRAM_"


# Read by Ray when it is imported, and not where the user says otherwise.
_QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as it will be; it warns until then
    "RAY_gcs_server_port_wait_time_s": "1",  # one try, of 40 s, for a cluster that is gone; else twenty
}
_CONNECT_S = 10.0


@contextlib.contextmanager
def connected(address: str | None = None) -> Iterator[Any]:
    """Connect to a running Ray cluster and give the module `ray`; a connection that is there already is used and kept.

    Args:
        address: HOST:PORT of the cluster, "auto" for the one that this machine is part of, ray://HOST:PORT of one
            elsewhere; by default RAY_ADDRESS, else "auto".

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: There is no such cluster, or it runs another version.
    """
    silence("ray")
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise MissingExtraError("the engine 'ray'", EXTRA) from None
    if ray.is_initialized():
        yield ray
        return
    named = address or os.environ.get("RAY_ADDRESS") or "auto"
    # Ray would end this process on SIGTERM without a word.
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        _knock(named)
        ray.init(
            address=named,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
            namespace="emogram",
        )
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        why = _first_line(error)
        raise SettingsError(
            f"no connection to a Ray cluster at '{named}' ({why}); start one with `ray start --head "
            "--disable-usage-stats`, or name its HOST:PORT with --address"
        ) from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    # Ray writes to stdout what the cluster has to say of its machines, such as that one is gone, and there stand data.
    ray._private.worker._worker_logs_enabled = False
    try:
        yield ray
    finally:
        ray.shutdown()  # writes what it held back
        ray._private.worker._worker_logs_enabled = True


def map_on_cluster(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    address: str | None = None,
    workers: int | None = None,
    ahead: int = AHEAD,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Progress = SILENT,
) -> Generator[tuple[int, Result | EmogramError], None, None]:
    """Yield `(index, function(item))` as they become ready, in any order. To be closed, which ends what still runs.

    What is lost with a worker or a machine is done again, so that `function` must be fit to be done twice, even at the
    same time. It sees the working folder and the variables of this process.

    Args:
        function: What to do with each item; on one processor.
        items: The items, which are looked at only a few ahead of what is being done.
        address: Of the cluster, see `connected`.
        workers: Most items at once; by default as many as the cluster has processors, whenever that changes.
        ahead: By default so many times as many lie with the cluster, ready; 1 where an item depends on results.
        should_stop: Is asked several times a second; once it says yes, no more is yielded.
        progress: Is told of what is done again.

    Yields:
        The place of an item, and its result or the `EmogramError` that was raised in place of it, or that tells of a
        worker that was lost `TRIES` times at it.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: There is no such cluster.
    """
    with connected(address) as ray:
        # Ray would do again what it lost without telling, and without end where it is a machine that goes.
        remote = ray.remote(num_cpus=1, max_retries=0)(_perform)
        around = (os.getcwd(), _variables())  # noqa: PTH109
        # Unpickled only once the variables are set, since that imports what reads them.
        sent = ray.put(ray.cloudpickle.dumps(function))
        pending = iter(enumerate(items))
        waiting: dict[Any, tuple[int, Item, int]] = {}
        exhausted = False
        idle_s = 0.0
        try:
            while not should_stop():
                most = workers or ahead * _processors(ray)
                while not exhausted and len(waiting) < most:
                    try:
                        index, item = next(pending)
                    except StopIteration:
                        exhausted = True
                        break
                    waiting[remote.remote(sent, around, item)] = (index, item, 1)
                if not waiting:
                    return
                ready, _ = ray.wait(list(waiting), num_returns=1, timeout=_LOOK_S)
                idle_s = 0.0 if ready or _processors(ray) else idle_s + _LOOK_S
                if _SAY_AFTER_S <= idle_s < _SAY_AFTER_S + _LOOK_S:
                    progress.say("the cluster has no processors left; waiting until it has")
                for reference in ready:
                    index, item, n_tries = waiting.pop(reference)
                    try:
                        outcome = ray.get(reference)
                    except ray.exceptions.RayTaskError as error:
                        raise (error.cause or error) from None
                    except ray.exceptions.RayError as error:
                        if n_tries == TRIES:
                            yield index, _lost(error)
                            continue
                        progress.say(f"a worker was lost ({_first_line(error)}); its work is done again")
                        waiting[remote.remote(sent, around, item)] = (index, item, n_tries + 1)
                        continue
                    yield index, outcome
        finally:
            for reference in waiting:
                with contextlib.suppress(Exception):  # gone already, or the cluster is
                    ray.cancel(reference, force=True)


@contextlib.contextmanager
def cluster_messages(ray: Any) -> Iterator[Messages]:
    """Give a queue that jobs on the cluster can put messages into; kept by the machine of this process."""
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    actor_queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    try:
        yield _Quiet(actor_queue)
    finally:
        with contextlib.suppress(Exception):  # the cluster may be gone
            actor_queue.shutdown(force=True)


class _Quiet:
    """A queue of Ray without which work goes on: what a job reports is worth less than the job."""

    def __init__(self, messages: Any) -> None:
        self._messages = messages

    def put(self, message: tuple[Any, ...]) -> None:
        with contextlib.suppress(Exception):
            self._messages.put(message, timeout=10.0)

    def get(self) -> tuple[Any, ...]:
        try:
            message: tuple[Any, ...] = self._messages.get()
        except Exception:
            return ("stop",)
        return message


def _knock(address: str) -> None:
    """See that somebody listens, which takes Ray most of a minute."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()


def _perform(function: bytes, around: tuple[str, Mapping[str, str]], item: Any) -> Any:
    """Do one item, in a worker of the cluster."""
    folder, variables = around
    os.environ.update(variables)
    with contextlib.suppress(OSError):  # names of stores mean the same everywhere, and others are then not found
        os.chdir(folder)
    try:
        return pickle.loads(function)(item)
    except EmogramError as error:
        return error


def _lost(error: BaseException) -> EmogramError:
    return EmogramError(
        f"a worker was lost {TRIES} times at the same piece of work ({_first_line(error)}); what is done stands: see "
        "that the cluster has memory enough, and say the same again"
    )


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in _VARIABLES or name.startswith(_PREFIX)}


def _processors(ray: Any) -> int:
    return int(ray.cluster_resources().get("CPU", 0))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:160]
