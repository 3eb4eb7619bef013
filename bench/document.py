"""Writes docs/performance.md from the results at hand; every number in it was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.ground import say

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "performance.md"
Result = Mapping[str, Any]

HEAD = """# Performance

Written by `make bench` (`python -m bench`); do not edit. Sandbox, Temporal dev server, worker and driver
share one machine's cores, so throughput here is a floor. The dev server's limit of 20 queue polls per second
is lifted; `firebreak/devserver.py` says why. Live probes need three denials in a row; unless said otherwise
they are 0.5 s apart instead of 5 s, so that there is less waiting for an overhead to hide in. Absolute times
depend on the machine and on what else ran on it (load average beside each table); ratios and differences
come from runs that were interleaved.
"""


def write() -> None:
    """Write the document."""
    TARGET.write_text(render(), encoding="utf-8")
    say(f"wrote {TARGET.relative_to(ROOT)}")


def render() -> str:
    """The document, with a section for each result that exists."""
    parts = [HEAD]
    for name, section in SECTIONS.items():
        path = Path(__file__).parent / "results" / f"{name}.json"
        if path.exists():
            parts.append("\n".join(section(json.loads(path.read_text(encoding="utf-8")))))
    return "\n".join(parts).rstrip() + "\n"


def overhead(result: Result) -> Iterator[str]:
    """Firebreak beside plain asyncio."""
    yield "## Overhead of orchestration\n"
    yield (
        f"The full sample workload is contained through Temporal, and by a plain asyncio script "
        f"(`bench/plain.py`) that makes the same cloud calls with the same parallelism. Every call takes "
        f"{result['latency_ms']:.0f} ms more than the sandbox needs.\n"
    )
    yield _machine(result)
    yield from _table(
        ("", "median", "low", "high", "goal"),
        (
            ("firebreak, s", *_row(result["firebreak_seconds"]), ""),
            ("plain asyncio, s", *_row(result["plain_seconds"]), ""),
            ("ratio", *_row(result["ratio"]), f"<= {result['goal_ratio']}"),
            ("added, s", *_row(result["added_seconds"]), f"<= {result['goal_seconds']}"),
        ),
    )
    yield f"{result['ratio']['count']} pairs, the first side alternating. Goal {_met(result['met'])}.\n"
    if "alone" in result:
        alone = result["alone"]
        yield (
            f"Without the noise of a cloud: {alone['steps']} steps whose activities do nothing take "
            f"{_range(alone['seconds'])} s from the trigger to the end of the run "
            f"({alone['seconds']['count']} runs, one after the other).\n"
        )
    pair = result["pairs"][-1]
    yield from _table(
        ("seconds to", "phase 1 proved", "phase 2", "phase 3", "phase 4", "package sealed", "calls"),
        (
            (
                side,
                *(f"{at:.1f}" for at in pair[side]["proved_after"]),
                f"{pair[side]['seconds']:.1f}",
                str(sum(pair[side]["calls"].values())),
            )
            for side in ("firebreak", "plain")
        ),
    )
    calls = pair["firebreak"]["calls"]
    yield f"Calls of one containment (last pair): {_list(calls)}.\n"
    yield f"CPU of one containment, seconds: {_list(pair['firebreak']['cpu_seconds'])}.\n"


def propagation(result: Result) -> Iterator[str]:
    """Slow identity changes."""
    yield "## Slow clouds\n"
    yield (
        f"{result['latency_ms']:.0f} ms for every call, and identity changes that take effect late; "
        "proof with the production settings (three in a row, 5 s apart).\n"
    )
    yield _machine(result)
    yield from _table(
        ("IAM propagation", "phase 1 proved, s", "contained, s", "package sealed, s", "runs"),
        (
            (
                f"{delay} s",
                *(
                    _range(some[name])
                    for name in ("phase_1_proved_seconds", "contained_seconds", "sealed_seconds")
                ),
                str(some["sealed_seconds"]["count"]),
            )
            for delay, some in result["runs"].items()
        ),
    )


def recovery(result: Result) -> Iterator[str]:
    """Crashes and deployments."""
    yield "## Recovery\n"
    yield (
        "The full sample workload, server on its SQLite file. Each disturbed run stands beside "
        "an undisturbed one; disturbed in phase 1, 2 and 3 in turn. A process that is started again first "
        "has to load.\n"
    )
    yield _machine(result)
    yield from _table(
        ("", "added s, median", "low", "high", "goal", "met", "activities retried"),
        (
            (
                name,
                *_row(each["added_seconds"]),
                f"<= {each['goal_seconds']:g}",
                _met(each["met"]),
                ", ".join(map(str, each["retried_activities"])),
            )
            for name, each in result["scenarios"].items()
        ),
    )


def load(result: Result) -> Iterator[str]:
    """Many at once."""
    yield "## Many at once, on one worker process\n"
    yield _machine(result)
    yield (
        "### On the sandbox\n\nLean workloads: one role, one interface, one object, one log group "
        "each. The sandbox is one Python process that answers one call at a time: its calls per second are "
        "the limit of this table, not Firebreak.\n"
    )
    yield from _fleets(result["sandbox"], sandboxed=True)
    for biggest in result["sandbox"][-1:]:
        yield f"Calls of one containment: {_list(biggest['calls_per_containment'])}.\n"
    yield (
        "### Orchestration alone\n\nThe same workflows with activities that do nothing, nine steps each: "
        "what is left is Temporal, its SDK and our workflow code, on cores shared with the Temporal server.\n"
    )
    yield from _fleets(result["scripted"], sandboxed=False)
    yield "### Live runs behind drills\n\nDrills are queued, then live runs 0.5 s later.\n"
    yield from _table(
        (
            "",
            "drills",
            "live",
            "live contained p50 / p99, s",
            "drills contained p50 / p99, s",
            "drills after the last live",
        ),
        (
            (
                name,
                str(each["drills"]),
                str(each["live"]),
                _percentiles(each["live_contained_after_seconds"]),
                _percentiles(each["drills_contained_after_seconds"]),
                f"{each['drills_that_ended_after_the_last_live_run']} of {each['drills']}",
            )
            for name, each in result["priorities"].items()
        ),
    )


def webhook(result: Result) -> Iterator[str]:
    """Acknowledgements of alerts."""
    burst = result["burst"]
    yield "## Alerts by webhook\n"
    yield (
        "From an alert on the wire to its 202, when its containment is durable. Standard Webhooks, one web "
        "process; the worker that contains meanwhile shares the cores.\n"
    )
    yield _machine(result)
    yield from _table(
        ("", "alerts", "workloads", "acknowledged p50, ms", "p99, ms", "per second", "contained runs"),
        (
            ("one after the other", *_acknowledged(result["alone"], "1", "", "")),
            (
                f"burst over {burst['at_once']} connections",
                *_acknowledged(
                    burst, str(burst["workloads"]), str(burst["per_second"]), str(burst["runs_contained"])
                ),
            ),
        ),
    )
    yield (
        f"Median of one after the other: goal {result['goal_seconds']:g} s, {_met(result['met'])}. "
        f"The burst was taken in after {burst['seconds']:g} s, limited by the dev server; its answers: "
        f"{_list(burst['answers'])}.\n"
    )


def history(result: Result) -> Iterator[str]:
    """Size of a history."""
    yield "## History of one containment\n"
    yield from _table(
        ("", "measures", "events", "limit", "events per measure", "bytes", "limit"),
        (
            (
                name,
                str(each["measures"]),
                str(each["events"]),
                f"{each['events_limit']}",
                str(each["events_per_measure"]),
                f"{each['bytes']:,}",
                f"{each['bytes_limit']:,}",
            )
            for name, each in result["runs"].items()
        ),
    )
    yield "The limit of 8 events per measure plus 60, and of 256 KiB, is held by a test in CI.\n"


def silence(result: Result) -> Iterator[str]:
    """Nobody answers whom Firebreak tells."""
    yield "## Nobody answers\n"
    yield (
        f"Chat and pager take connections and never answer, the SIEM cannot be reached, no console runs. "
        f"{result['steps']} steps that do nothing, trigger to the proof of phase 4, beside runs whose pages "
        "are logged.\n"
    )
    yield _machine(result)
    yield from _table(
        ("", "median", "low", "high", "goal"),
        (
            ("pages logged, s", *_row(result["told_seconds"]), ""),
            ("pages into the void, s", *_row(result["untold_seconds"]), ""),
            ("ratio", *_row(result["ratio"]), f"<= {result['goal_ratio']}"),
        ),
    )
    yield f"\n{result['ratio']['count']} pairs. Goal {_met(result['met'])}.\n"


SECTIONS = {
    "overhead": overhead,
    "recovery": recovery,
    "propagation": propagation,
    "load": load,
    "webhook": webhook,
    "silence": silence,
    "history": history,
}


def _acknowledged(some: Result, workloads: str, per_second: str, runs: str) -> tuple[str, ...]:
    return str(some["count"]), workloads, str(some["p50_ms"]), str(some["p99_ms"]), per_second, runs


def _fleets(fleets: Sequence[Result], *, sandboxed: bool) -> Iterator[str]:
    more = ("calls/s", "sandbox CPU s each") if sandboxed else ()
    yield from _table(
        (
            "at once",
            "contained",
            "phase 1 proved p50 / p99, s",
            "contained p50 / p99, s",
            "per minute",
            "worker CPU s each",
            "server CPU s each",
            "peak MiB worker / server",
            "retried",
            *more,
        ),
        (_fleet(each, sandboxed=sandboxed) for each in fleets),
    )


def _fleet(each: Result, *, sandboxed: bool) -> tuple[str, ...]:
    usage = each["usage"]
    cpu, peak = usage["cpu_seconds_per_containment"], usage["peak_mib"]
    return (
        str(each["containments"]),
        str(each["verdicts"].get("contained", 0)),
        _percentiles(each["phase_1_proved_seconds"]),
        _percentiles(each["contained_seconds"]),
        str(each["per_minute"]),
        f"{cpu['worker']:.2f}",
        f"{cpu['server']:.2f}",
        f"{peak['worker']} / {peak['server']}",
        str(each["retried_activities"]),
        *((str(each["calls_per_second"]), f"{cpu['sandbox']:.2f}") if sandboxed else ()),
    )


def _machine(result: Result) -> str:
    m = result["machine"]
    return (
        f"Measured on {m['measured_on']}: {m['cores']} cores ({m['processor']}), {m['memory_gib']} GiB, "
        f"Python {m['python']}, {m['system']}; load average at the end {m['load_average_1min']}.\n"
    )


def _table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _row(spread: Result) -> tuple[str, str, str]:
    return str(spread["median"]), str(spread["low"]), str(spread["high"])


def _range(spread: Result) -> str:
    return f"{spread['median']} ({spread['low']} to {spread['high']})"


def _percentiles(values: Result) -> str:
    return f"{values['p50']} / {values['p99']}"


def _list(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {round(value, 2):g}" for name, value in values.items())


def _met(met: object) -> str:
    return "met" if met else "missed"
