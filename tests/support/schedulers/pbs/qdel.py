"""qdel and qalter of the pretended PBS."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence

from tests.support.schedulers.pbs import fake_pbs
from tests.support.schedulers.pbs.fake_pbs import RefusedError, Site, write


def qdel(site: Site, words: Sequence[str]) -> int:
    if site.config["deaf"]:
        return 0
    if not site.is_torque:
        ids = words
        if ends_server(site, words):
            fake_pbs.crash(site.folder, ["qdel", *words])
            ids = words[:1]  # the only one that is gone once the server is back
        code = _for_each(ids, lambda native: _delete(site, native))
        return code if ids == words else 0
    if any(re.search(r"\[\d+-", word) for word in words):
        raise RefusedError(f"qdel: illegally formed job identifier: {words[0]}", 1)
    if words[0] != "-t":
        return _for_each(words, lambda native: _delete(site, native))
    return _for_each(
        words[1].split(","), lambda some: _delete(site, words[2].replace("[]", f"[{some}]"))
    )


def ends_server(site: Site, words: Sequence[str]) -> bool:
    """Whether this list ends a real server, as was seen.

    A single sub-job beside anything that is not of its array does; without history, one that is
    not known beside one that is.
    """
    if len(words) < 2:
        return False
    has_single = any(re.match(r"\d+\[\d+\]", word) for word in words)
    if has_single and len({re.split(r"[\[.]", word)[0] for word in words}) > 1:
        return True
    known = [site.find(word) for word in words]
    living = [job is not None and not site.is_over(job) for job in known]
    return not site.config["history"] and any(living) and not all(living)


def qalter(site: Site, words: Sequence[str]) -> int:
    """`-W max_run_subjobs=N` of an array, and what a running job refuses."""
    rest, options = list(words), list[tuple[str, str]]()
    while len(rest) > 2 and rest[0].startswith("-"):
        options.append((rest.pop(0), rest.pop(0)))
    if not rest or any(letter not in ("-W", "-l", "-N", "-A") for letter, _ in options):
        raise RefusedError(
            "usage: qalter [-a date_time] [-A account_string] ... job_identifier...", 2
        )
    return _for_each(rest, lambda native: _alter(site, native, options))


def _for_each(ids: Sequence[str], act: Callable[[str], None]) -> int:
    """Every id has its own answer; the code is that of the last error."""
    code = 0
    for native in ids:
        try:
            act(native)
        except RefusedError as refused:  # noqa: PERF203 - see above
            print(refused.text, file=sys.stderr)
            code = refused.code
    return code


def _delete(site: Site, native: str) -> None:
    match = re.match(r"(\d+)(?:\[(\d+)?(?:-(\d+))?\])?", native)
    job = site.find(native)
    if not match or job is None:
        raise RefusedError(f"qdel: Unknown Job Id {native}", 153)
    if site.is_over(job):
        raise RefusedError(f"qdel: Job has finished {native}", 35)
    low = int(match[2]) if match[2] else 0
    high = int(match[3] or low) if match[2] else max(job["indices"], default=0)
    if job["indices"] and low > job["indices"][-1]:
        raise RefusedError(f"qdel: Unknown Job Id {native}", 153)
    for index in range(low, high + 1):
        (site.folder / "jobs" / match[1] / f"delete.{index}").touch()
    # queued sub-jobs become X at once
    time.sleep(0.05)


def _alter(site: Site, native: str, options: Sequence[tuple[str, str]]) -> None:
    job = site.find(native)
    if job is None:
        raise RefusedError(f"qalter: Unknown Job Id {native}", 153)
    if site.is_over(job):
        raise RefusedError("qalter: Job has finished", 35)
    is_running = not job["indices"] and site.state(job, 0)["state"] == "R"
    for letter, value in options:
        if is_running and letter == "-l" and value.startswith("walltime"):
            raise RefusedError(f"qalter: Unauthorized Request  {native}", 159)
        if is_running and letter in ("-N", "-A"):
            raise RefusedError(
                f"qalter: Cannot modify attribute while job running  Job_Name {native}", 167
            )
        if value.startswith("max_run_subjobs="):
            job["limit"] = int(value.partition("=")[2])
    write(site.folder / "jobs" / str(job["number"]) / "job.json", job)
