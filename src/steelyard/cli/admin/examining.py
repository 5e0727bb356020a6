"""`steelyard admin doctor`: what is wrong with a registry, and what to do."""

import click

from steelyard import __version__
from steelyard.cli.admin.opening import DIFFERENCE_FOUND, answer, json_flag
from steelyard.server.app import open_store
from steelyard.server.jobs.doctor import Note, examine
from steelyard.server.settings import Settings

_MARKS = {"ok": "ok   ", "note": "note ", "fault": "FAULT"}


@click.command()
@json_flag
@click.pass_obj
def doctor(settings: Settings, as_json: bool) -> None:
    """Look at every part of the registry and say what is wrong, and what to do. Exit code 1 when something is.

    Settings, database, store, limits and clocks. Needs no running server, and leaves nothing behind: bytes and rows
    that it writes to see whether it may are gone when it ends.
    """
    notes = examine(settings, open_store)
    faults = [note for note in notes if note.state == "fault"]
    document = {
        "version": __version__,
        "healthy": not faults,
        "notes": [{"part": n.part, "state": n.state, "what": n.what, "advice": n.advice} for n in notes],
    }
    answer(as_json, document, "\n".join([*map(_line, notes), _summary(len(faults))]))
    if faults:
        raise SystemExit(DIFFERENCE_FOUND)


def _line(note: Note) -> str:
    first = f"{_MARKS[note.state]}  {note.part + ':':<9} {note.what}"
    return f"{first}\n{'':<17} -> {note.advice}" if note.advice else first


def _summary(faults: int) -> str:
    return f"{faults} faults" if faults != 1 else "1 fault"
