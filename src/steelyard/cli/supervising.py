"""Several processes that are one server: all listen on one address, and a supervisor begins them and ends them.

The supervisor has everything loaded when it forks, and opens nothing before: workers share the memory of what is
loaded, and one that dies is replaced within a fraction of a second. Signals are for the supervisor. Workers hear of
them through a pipe, whose end tells them as well that the supervisor is gone: then they go at once, as they would in
one process with it, so that whoever starts the server anew meets none of them. Needs Linux, whose kernel spreads the
connections over all who listen on one port (`SO_REUSEPORT`).
"""

import asyncio
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

log = logging.getLogger("steelyard.serve")

_LEAVE, _STOP = b"l", b"s"
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
_LOOK_SECONDS = 1.0
LONG_LIFE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 30.0
"""Who dies after so long a life is replaced at once; who dies early again and again, after longer and longer pauses."""


@contextmanager
def reserved(family: int, address: str, port: int) -> Iterator[int]:
    """Hold a port of this address, any for 0, for processes of ours that listen on it. Answers which it is."""
    if not sys.platform.startswith("linux"):
        raise OSError("several workers need Linux: set workers to 1")
    with socket.socket(family, socket.SOCK_STREAM) as held:  # it is never listened on, so nobody is connected to it
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((address, port))
        yield int(held.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Hired:
    """What a worker knows of its supervisor."""

    number: int
    """Counted from 1. Whoever takes the place of one that died has the same."""
    _orders: int
    _answers: int

    def say_open(self) -> None:
        """Whatever could keep the first worker from serving did not."""
        os.write(self._answers, b"o")

    def obey(self, leave: Callable[[], None], stop: Callable[[], None]) -> None:
        """Call these on the running event loop when the supervisor says so."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._orders, self._hear, leave, stop)

    def _hear(self, leave: Callable[[], None], stop: Callable[[], None]) -> None:
        heard = os.read(self._orders, 1)
        if not heard:
            log.error("the supervisor is gone: worker %d ends", self.number)
            _flush()
            os._exit(1)
        (leave if heard == _LEAVE else stop)()


@dataclass(frozen=True, slots=True)
class _Worker:
    """What the supervisor knows of a worker."""

    number: int
    process: int
    orders: int
    answers: int
    began: float

    def order(self, what: bytes) -> None:
        with suppress(BrokenPipeError):  # it has ended
            os.write(self.orders, what)

    def let_go(self) -> None:
        os.close(self.orders)
        os.close(self.answers)


def supervise(count: int) -> Hired | None:
    """Begin so many workers and look after them. Returns in each worker, and None in the supervisor when all have ended
    because it was told so. Raises SystemExit there when the first cannot serve, or when one did not end well."""
    return _Supervisor(count).run()


class _Supervisor:
    """One process, without threads: it forks."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._running: dict[int, _Worker] = {}
        self._due: dict[int, float] = {}
        """When which number is begun again."""
        self._early_deaths = dict.fromkeys(range(1, count + 1), 0)
        self._is_leaving, self._code = False, 0

    def run(self) -> Hired | None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # they are waited for
        gc.collect()
        gc.freeze()  # a collector that marks objects would copy the pages that workers share
        if hired := self._begin_all():
            return hired
        while self._running or self._due:
            self._hear(signal.sigtimedwait(_SIGNALS, _LOOK_SECONDS))
            self._look()
            if hired := self._begin_due():
                return hired
        if self._code:
            raise SystemExit(self._code)
        return None

    def _begin_all(self) -> Hired | None:
        """One first: what keeps it from serving would keep all."""
        if hired := self._begin(1):
            return hired
        (first,) = self._running.values()
        if not _said_open(first):
            _, status = os.waitpid(first.process, 0)
            raise SystemExit(os.waitstatus_to_exitcode(status) or 1)
        for number in range(2, self._count + 1):
            if hired := self._begin(number):
                return hired
        return None

    def _begin(self, number: int) -> Hired | None:
        """Fork. The worker gets what is for it, and nothing that belongs to the others."""
        hears, orders = os.pipe()
        answers, tells = os.pipe()
        _flush()
        process = os.fork()
        if process:
            os.close(hears)
            os.close(tells)
            self._running[process] = _Worker(number, process, orders, answers, time.monotonic())
            return None
        for descriptor in (orders, answers):
            os.close(descriptor)
        for other in self._running.values():
            other.let_go()
        for number_ in (signal.SIGTERM, signal.SIGINT):  # a terminal and systemd send them to all: the supervisor acts
            signal.signal(number_, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return Hired(number, hears, tells)

    def _begin_due(self) -> Hired | None:
        now = time.monotonic()
        for number in [number for number, at in self._due.items() if at <= now]:
            del self._due[number]
            if hired := self._begin(number):
                return hired
        return None

    def _hear(self, heard: "signal.struct_siginfo | None") -> None:
        """Tell all workers what we were told."""
        if heard is None or heard.si_signo == signal.SIGCHLD:
            return
        self._is_leaving = True
        self._due.clear()
        for worker in self._running.values():
            worker.order(_LEAVE if heard.si_signo == signal.SIGTERM else _STOP)

    def _look(self) -> None:
        """See who has ended."""
        for worker in list(self._running.values()):
            process, status = os.waitpid(worker.process, os.WNOHANG)
            if process:
                del self._running[process]
                worker.let_go()
                self._replace(worker, os.waitstatus_to_exitcode(status))

    def _replace(self, worker: _Worker, code: int) -> None:
        if self._is_leaving:
            self._code = self._code or int(code != 0)
            return
        lived = time.monotonic() - worker.began
        deaths = 0 if lived > LONG_LIFE_SECONDS else self._early_deaths[worker.number]
        self._early_deaths[worker.number] = deaths + 1
        pause = min(2.0 ** (deaths - 1), LONGEST_PAUSE_SECONDS) if deaths else 0.0
        self._due[worker.number] = time.monotonic() + pause
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        log.error("worker %d (process %d) %s; begun anew in %g seconds", worker.number, worker.process, how, pause)


def _said_open(worker: _Worker) -> bool:
    """Wait until it is open, or has ended, or somebody wants us to."""
    while not select.select([worker.answers], [], [], _LOOK_SECONDS)[0]:
        if signal.sigpending() & {signal.SIGTERM, signal.SIGINT}:
            return True
    return bool(os.read(worker.answers, 1))


def _flush() -> None:
    """What is buffered would be written by the worker as well."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    sys.stdout.flush()
    sys.stderr.flush()
