"""What a command takes, for the benches that run commands."""
import pathlib, resource, subprocess, sys, time
from dataclasses import dataclass


@dataclass
class Taken:
    """A command's output and what it took: seconds, CPU seconds of all its threads, MiB of its largest resident set."""

    out: str
    err: str
    code: int
    wall: float
    cpu: float
    peak: float

    def figures(self):
        return self.wall, self.cpu, self.peak


def attempt(command, cwd):
    """Runs a command to its end, however it ends. Needs GNU `time`."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(["/usr/bin/env", "time", "-f", "peak %M", *command], cwd=cwd, capture_output=True, text=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = done.stderr.splitlines()
    peak = [int(line.split()[1]) for line in lines if line.startswith("peak ")][-1] / 1024
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    err = "\n".join(line for line in lines if not line.startswith("peak "))
    return Taken(done.stdout, err, done.returncode, wall, cpu, peak)


def run(command, cwd):
    """Runs a command that has to succeed."""
    taken = attempt(command, cwd)
    if taken.code:
        sys.exit(f"{' '.join(map(str, command))}: {taken.out}{taken.err}")
    return taken


class Stages:
    """Clocks the stages of the process it is in. The peak is that of the process so far."""

    def __init__(self):
        self.taken = {}
        self._lap()

    def _lap(self):
        used = resource.getrusage(resource.RUSAGE_SELF)
        now = time.perf_counter(), used.ru_utime + used.ru_stime
        last, self._last = getattr(self, "_last", now), now
        return now[0] - last[0], now[1] - last[1], used.ru_maxrss / 1024

    def end(self, stage):
        self.taken[stage] = dict(zip(["wall", "cpu", "peak"], self._lap()))


def binary(path):
    return str(pathlib.Path(path).resolve())
