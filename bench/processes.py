"""CPU and memory of the processes under measurement."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

SAMPLE_SECONDS = 0.5
MIB = 1024 * 1024


@dataclass(frozen=True)
class Running:
    """A process that the benchmark started."""

    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it as a deployment would (SIGTERM), and wait for its end."""
        self.process.terminate()
        self.process.wait()


@dataclass
class Meter:
    """What each process used while it was measured."""

    pids: Mapping[str, int]
    began: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    peak_mib: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    load_average: float = 0.0

    def json(self, containments: int) -> dict[str, Any]:
        """The measurement, also per containment."""
        return {
            "seconds": round(self.seconds, 2),
            "load_average_1min": round(self.load_average, 2),
            "cpu_seconds": {name: round(value, 2) for name, value in self.cpu_seconds.items()},
            "cpu_seconds_per_containment": {
                name: round(value / containments, 3) for name, value in self.cpu_seconds.items()
            },
            "peak_mib": {name: round(value) for name, value in self.peak_mib.items()},
        }


@contextmanager
def metered(pids: Mapping[str, int]) -> Iterator[Meter]:
    """Measure these processes for the length of a block."""
    meter = Meter(pids)
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    before = {name: _cpu(process) for name, process in processes.items()}
    began, stop = time.perf_counter(), threading.Event()
    watcher = threading.Thread(target=_watch_memory, args=(processes, meter, stop), daemon=True)
    watcher.start()
    try:
        yield meter
    finally:
        stop.set()
        watcher.join()
        meter.seconds = time.perf_counter() - began
        meter.load_average = os.getloadavg()[0]
        meter.cpu_seconds = {name: _cpu(process) - before[name] for name, process in processes.items()}


def _watch_memory(processes: Mapping[str, psutil.Process], meter: Meter, stop: threading.Event) -> None:
    while True:
        for name, process in processes.items():
            used = process.memory_info().rss / MIB
            meter.peak_mib[name] = max(meter.peak_mib.get(name, 0.0), used)
        if stop.wait(SAMPLE_SECONDS):
            return


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown"
    )
    return {
        "processor": model,
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "measured_on": time.strftime("%Y-%m-%d", time.gmtime()),
        "load_average_1min": round(os.getloadavg()[0], 2),
    }
