"""JSON lines are read while they are written."""

from __future__ import annotations

from pathlib import Path

from anlp.programs.sources.json_lines import JsonLines


def test_only_whole_new_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = JsonLines(path)
    assert (list(lines.new_rows()), lines.is_there) == ([], False)

    path.write_text('{"epoch": 0, "val": {"acc": 0.5}}\n{"epo')
    assert list(lines.new_rows()) == [{"epoch": 0, "val.acc": 0.5}]
    assert list(lines.new_rows()) == []
    with path.open("a") as file:
        file.write('ch": 1}\n\n')
    assert list(lines.new_rows()) == [{"epoch": 1}]
    assert (lines.is_there, lines.notes()) == (True, [])


def test_lines_that_are_no_objects_are_counted_and_the_first_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\nepoch 3\n[1]\n\xff\xfe\n' + b"[" * 100_000 + b'\n{"a": 2}\n')
    lines = JsonLines(path)

    assert list(lines.new_rows()) == [{"a": 1}, {"a": 2}]
    assert lines.notes() == [
        "4 lines of $ANLP_METRICS that are no JSON objects are left out; the first is line 2: "
        "'epoch 3'"
    ]


def test_a_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    lines = JsonLines(path)
    assert len(list(lines.new_rows())) == 2

    path.write_text('{"a": 3}\n')
    assert (list(lines.new_rows()), lines.must_restart) == ([], True)
    lines.rewind()
    assert (list(lines.new_rows()), lines.must_restart) == ([{"a": 3}], False)
