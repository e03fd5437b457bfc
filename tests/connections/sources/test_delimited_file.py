"""What the delimited file source makes of files, good and bad."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from connections.declare import SettingsError
from connections.sources.base import (
    MalformedRow,
    MisconfiguredSourceError,
    PermanentSourceError,
    Selection,
    SourceError,
    TransientSourceError,
)
from connections.sources.delimited_file.source import DelimitedFileSource, Settings

Row = dict[str, object]


def read(folder: Path, content: bytes, **settings: object) -> list[Row]:
    rows, _ = read_all(folder, content, **settings)
    return rows


def read_all(folder: Path, content: bytes, **settings: object) -> tuple[list[Row], list[MalformedRow]]:
    (folder / "data.csv").write_bytes(content)
    source = DelimitedFileSource(Settings(**settings), folder)  # type: ignore[arg-type]
    with source.read(Selection(path="data.csv")) as reading:
        rows = [row for batch in reading.batches for row in batch.to_pylist()]
        return rows, reading.malformed


def test_rows_are_numbered_from_one(tmp_path: Path) -> None:
    assert read(tmp_path, b"a,b\n1,2\n3,4\n") == [
        {"a": "1", "b": "2", "_row": 1},
        {"a": "3", "b": "4", "_row": 2},
    ]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("last", [True, False])
def test_every_line_ending_is_understood(tmp_path: Path, ending: bytes, last: bool) -> None:
    content = ending.join([b"a,b", b"1,2", b'3,"x' + ending + b'y"']) + (ending if last else b"")
    rows = read(tmp_path, content)
    assert [row["a"] for row in rows] == ["1", "3"]
    assert rows[1]["b"] == "x" + ending.decode() + "y"


def test_an_unquoted_empty_cell_is_null_and_a_quoted_one_is_empty(tmp_path: Path) -> None:
    rows = read(tmp_path, b'a,b,c\n,"",x\n')
    assert rows == [{"a": None, "b": "", "c": "x", "_row": 1}]


def test_with_a_null_token_only_the_unquoted_token_is_null(tmp_path: Path) -> None:
    rows = read(tmp_path, b'a,b,c\n\\N,"\\N",\n', null_token="\\N")
    assert rows == [{"a": None, "b": "\\N", "c": "", "_row": 1}]


def test_quotes_delimiters_and_line_breaks_inside_quotes_belong_to_the_value(tmp_path: Path) -> None:
    rows = read(tmp_path, 'a,b\n"say ""hé"", then\ngo",2\n'.encode())
    assert rows == [{"a": 'say "hé", then\ngo', "b": "2", "_row": 1}]


def test_a_quote_in_the_middle_of_an_unquoted_cell_is_text(tmp_path: Path) -> None:
    rows = read(tmp_path, b'a,b\n5" pipe,2\n"x",7\'6"\n')
    assert [(row["a"], row["b"]) for row in rows] == [('5" pipe', "2"), ("x", "7'6\"")]


def test_malformed_rows_keep_their_numbers(tmp_path: Path) -> None:
    rows, malformed = read_all(tmp_path, b'a,b\n1,2\nonly\n"3\n3",4\n5,6,7\n\n8,9\n')
    assert [(row["a"], row["_row"]) for row in rows] == [("1", 1), ("3\n3", 3), ("8", 5)]
    assert malformed == [
        MalformedRow(2, "only", "1 cell instead of 2"),
        MalformedRow(4, "5,6,7", "3 cells instead of 2"),
    ]


def test_malformed_rows_keep_their_numbers_across_the_pieces_of_a_large_file(tmp_path: Path) -> None:
    lines = [b"%d,%b" % (number, b"x" * 90) if number % 1000 else b"bad" for number in range(1, 100_001)]
    rows, malformed = read_all(tmp_path, b"a,b\n" + b"\n".join(lines))
    assert [row.row for row in malformed] == list(range(1000, 100_001, 1000))
    assert len(rows) == 99_900
    assert all(row["a"] == str(row["_row"]) for row in rows)


def test_too_many_malformed_rows_stop_the_read(tmp_path: Path) -> None:
    with pytest.raises(PermanentSourceError, match="more than 10,000 malformed rows.*delimiter"):
        read(tmp_path, b"a,b\n" + b"x\n" * 10_001)
    assert len(read_all(tmp_path, b"a,b\n" + b"x\n" * 10_000)[1]) == 10_000


def test_without_header_rows_the_columns_are_numbered(tmp_path: Path) -> None:
    assert read(tmp_path, b"1,2\n3,4\n", header_rows=0) == [
        {"column_1": "1", "column_2": "2", "_row": 1},
        {"column_1": "3", "column_2": "4", "_row": 2},
    ]


def test_of_several_header_rows_the_last_one_names_the_columns(tmp_path: Path) -> None:
    content = b'"Report\nof May"\ncreated by,somebody,else\na,b\n1,2\n'
    assert read(tmp_path, content, header_rows=3) == [{"a": "1", "b": "2", "_row": 1}]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8", b"\xef\xbb\xbf"), ("cp1252", b""), ("utf-16", b""), ("utf-16-be", b"\xfe\xff"), ("shift_jis", b"")],
)
def test_text_comes_as_written_in_any_encoding(tmp_path: Path, encoding: str, mark: bytes) -> None:
    name = "日本" if encoding == "shift_jis" else "Zoë"
    content = mark + f'"name",b\n{name},2\n'.encode(encoding)
    assert read(tmp_path, content, encoding=encoding) == [{"name": name, "b": "2", "_row": 1}]


def test_a_large_file_in_another_encoding_is_decoded_across_blocks(tmp_path: Path) -> None:
    line = "é" * 50 + ",2\n"
    count = 50_000
    rows = read(tmp_path, ("a,b\n" + line * count).encode("utf-16"), encoding="utf-16")
    assert len(rows) == count
    assert {row["a"] for row in rows} == {"é" * 50}


def test_a_wrong_encoding_is_named_with_the_place_and_the_likely_one(tmp_path: Path) -> None:
    content = b"name,b\n" + b"x,1\n" * 3 + "Zoë,2\n".encode("cp1252")
    with pytest.raises(PermanentSourceError, match=r"not utf-8: byte 0xEB at offset 21 \(line 5\).*cp1252"):
        read(tmp_path, content)


def test_a_wrong_encoding_deep_in_a_large_file_is_found(tmp_path: Path) -> None:
    start = b"name,b\n" + b"abcdefg,1\n" * 900_000
    with pytest.raises(PermanentSourceError, match=rf"offset {len(start) + 1:,} \(line 900,002\)"):
        read(tmp_path, start + b"Z\xe9,2\n" + b"x,3\n" * 10)


def test_a_wrong_encoding_in_the_header_is_found(tmp_path: Path) -> None:
    with pytest.raises(PermanentSourceError, match="0xE9 at offset 1 .*cp1252"):
        read(tmp_path, b"n\xe9,b\n1,2\n")


def test_utf_16_said_to_be_utf_8_is_recognized(tmp_path: Path) -> None:
    with pytest.raises(PermanentSourceError, match="look like utf-16"):
        read(tmp_path, "a,b\n1,2\n".encode("utf-16"))
    with pytest.raises(PermanentSourceError, match="look like utf-16-le"):
        read(tmp_path, "a,b\n1,2\n".encode("utf-16-le"))


def test_utf_8_said_to_be_something_else_is_recognized(tmp_path: Path) -> None:
    with pytest.raises(PermanentSourceError, match="look like utf-8"):
        read(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n", encoding="cp1252")
    with pytest.raises(PermanentSourceError, match="look like utf-8"):
        read(tmp_path, b"a,b\n1,2\n", encoding="utf-16")


def test_a_quote_that_is_never_closed_is_an_error_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(PermanentSourceError, match=r"line 3.*quote is not closed"):
        read(tmp_path, b'a,b\n1,2\n3,"4\n5,6\n7,8\n')


def test_a_quote_that_would_swallow_the_rows_up_to_the_next_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PermanentSourceError, match=r"line 4.*text follows a closing quote"):
        read(tmp_path, b'a,b\n"1","2"\n3,"4\n5,"6"\n7,8\n')


def test_an_unclosed_quote_in_a_large_file_is_found_without_reading_it_all(tmp_path: Path) -> None:
    with pytest.raises(PermanentSourceError, match=r"line 2: a record of more than 16 MB"):
        read(tmp_path, b'a,b\n1,"2\n' + b"345,678\n" * 3_000_000)


def test_a_cell_of_several_megabytes_is_read(tmp_path: Path) -> None:
    text = "x,\n" * 2_000_000
    rows = read(tmp_path, f'a,b\n1,"{text}"\n2,y\n'.encode())
    assert rows[0]["b"] == text
    assert rows[1] == {"a": "2", "b": "y", "_row": 2}


def test_an_empty_file_is_an_error_and_a_header_alone_is_not(tmp_path: Path) -> None:
    for content in (b"", b"\n\n", b"\xef\xbb\xbf"):
        with pytest.raises(PermanentSourceError, match="is empty"):
            read(tmp_path, content)
    assert read(tmp_path, b"a,b") == []
    with pytest.raises(PermanentSourceError, match="has 1 row.* 2 header rows"):
        read(tmp_path, b"a,b\n", header_rows=2)


def test_columns_that_cannot_be_told_apart_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredSourceError, match="two columns named 'a'"):
        read(tmp_path, b"a,b,a\n1,2,3\n")
    with pytest.raises(MisconfiguredSourceError, match="named '_row'"):
        read(tmp_path, b"a,_row\n1,2\n")


def test_a_column_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    assert read(tmp_path, b"a,,c\n1,2,3\n") == [{"a": "1", "column_2": "2", "c": "3", "_row": 1}]


@pytest.mark.parametrize(("delimiter", "shown"), [(";", "';'"), ("\t", "a tab"), ("|", "'|'")])
def test_a_header_with_another_delimiter_gives_a_hint(tmp_path: Path, delimiter: str, shown: str) -> None:
    (tmp_path / "data.csv").write_text(f"a{delimiter}b\n1{delimiter}2\n")
    with DelimitedFileSource(Settings(), tmp_path).read(Selection(path="data.csv")) as reading:
        assert reading.columns == (f"a{delimiter}b",)
        assert f"is the delimiter {shown}?" in reading.hint
    with DelimitedFileSource(Settings(delimiter=delimiter), tmp_path).read(Selection(path="data.csv")) as reading:
        assert reading.columns == ("a", "b")
        assert reading.hint == ""


def test_delimiters_may_be_named_and_quoting_switched_off(tmp_path: Path) -> None:
    assert read(tmp_path, b'a\tb\n"1\t2"\n', delimiter="tab", quote="") == [{"a": '"1', "b": '2"', "_row": 1}]


def test_another_quote_character_is_understood(tmp_path: Path) -> None:
    assert read(tmp_path, b"a;b\n'x;''y';\"\n", delimiter=";", quote="'") == [{"a": "x;'y", "b": '"', "_row": 1}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delimiter": ";;"}, "delimiter ';;' is not one"),
        ({"delimiter": ""}, "delimiter '' is not one"),
        ({"delimiter": "§"}, "delimiter '§' is not one"),
        ({"quote": "''"}, "quote character"),
        ({"quote": ","}, "both ','"),
        ({"encoding": "utf-9"}, "encoding 'utf-9' is unknown"),
        ({"encoding": "base64"}, "encoding 'base64' is unknown"),
        ({"header_rows": -1}, "header rows is -1"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["../secret.csv", "in/../../secret.csv", "in/../data.csv"])
def test_a_path_with_dots_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    folder = tmp_path / "acme"
    (folder / "in").mkdir(parents=True)
    (folder / "data.csv").write_text("a\n1\n")
    with pytest.raises(MisconfiguredSourceError, match="leads out of the organization's folder"):
        DelimitedFileSource(Settings(), folder).read(Selection(path=path))


def test_an_absolute_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a\n1\n")
    with pytest.raises(MisconfiguredSourceError, match="leads out"):
        DelimitedFileSource(Settings(), tmp_path).read(Selection(path=str(tmp_path / "data.csv")))


def test_links_may_stay_inside_the_folder_and_not_leave_it(tmp_path: Path) -> None:
    folder = tmp_path / "acme"
    (folder / "in").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data.csv").write_text("secret\n1\n")
    (folder / "data.csv").write_text("mine\n1\n")
    (folder / "good.csv").symlink_to("data.csv")
    (folder / "bad.csv").symlink_to(tmp_path / "other" / "data.csv")
    (folder / "out").symlink_to(tmp_path / "other")
    (folder / "loop.csv").symlink_to("loop.csv")
    source = DelimitedFileSource(Settings(), folder)
    with source.read(Selection(path="good.csv")) as reading:
        assert reading.columns == ("mine",)
    for path in ("bad.csv", "out/data.csv"):
        with pytest.raises(MisconfiguredSourceError, match="leads out"):
            source.read(Selection(path=path))
    with pytest.raises(SourceError):
        source.read(Selection(path="loop.csv"))


def test_a_missing_file_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    source = DelimitedFileSource(Settings(), tmp_path)
    with pytest.raises(MisconfiguredSourceError, match=r"no file 'gone\.csv'.*holds no files"):
        source.read(Selection(path="gone.csv"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "here.csv").write_text("a\n")
    with pytest.raises(MisconfiguredSourceError, match=r"no file 'gone\.csv'.*'in/here\.csv'"):
        source.read(Selection(path="gone.csv"))
    with pytest.raises(MisconfiguredSourceError, match="'in' is a folder"):
        source.read(Selection(path="in"))
    with pytest.raises(MisconfiguredSourceError, match="Give the path"):
        source.read(Selection(path=""))


def test_a_named_pipe_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(MisconfiguredSourceError, match="not a file"):
        DelimitedFileSource(Settings(), tmp_path).read(Selection(path="pipe.csv"))


def test_a_file_that_changes_while_it_is_read_stops_the_read(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("a,b\n" + "1,2\n" * 2_000_000)
    with DelimitedFileSource(Settings(), tmp_path).read(Selection(path="data.csv")) as reading:
        next(reading.batches)
        with file.open("a") as more:
            more.write("3,4\n")
        with pytest.raises(TransientSourceError, match="was changed while it was read"):
            list(reading.batches)


def test_files_and_their_columns_are_listed(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("x,y\n1,2\n")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_bytes(b"")
    (tmp_path / ".hidden").write_text("a\n")
    source = DelimitedFileSource(Settings(), tmp_path)
    assert [(table.name, table.columns) for table in source.tables()] == [("b.csv", ("x", "y")), ("in/a.csv", ())]
    assert source.check() == ["2 files, for example 'b.csv'"]
    with pytest.raises(MisconfiguredSourceError, match="holds no files"):
        DelimitedFileSource(Settings(), tmp_path / "nowhere").check()


def test_a_closed_reading_has_closed_its_file(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a\n1\n")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    if before is None:
        pytest.skip("open files cannot be counted here")
    reading = DelimitedFileSource(Settings(), tmp_path).read(Selection(path="data.csv"))
    next(reading.batches)
    reading.close()
    reading.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_path_takes_parameters_and_the_reading_tells_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "orders_2024-01-31.csv").write_bytes(b"id\n1\n")
    source = DelimitedFileSource(Settings(), tmp_path)
    with source.read(Selection(path="in/orders_@day.csv", parameters={"day": "2024-01-31"})) as reading:
        assert reading.file_name == "orders_2024-01-31.csv"
        assert sum(batch.num_rows for batch in reading.batches) == 1


@pytest.mark.parametrize("value", ["../secret", "a/b", "..", "a\\b", "a\0b"])
def test_a_parameter_leads_into_no_other_folder(tmp_path: Path, value: str) -> None:
    with pytest.raises(MisconfiguredSourceError, match="of @day cannot be part of the path"):
        DelimitedFileSource(Settings(), tmp_path).read(Selection(path="@day.csv", parameters={"day": value}))


def test_two_parameters_together_lead_into_no_other_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_bytes(b"id\n1\n")
    (tmp_path / "below").mkdir()
    selection = Selection(path="@a@b/secret.csv", parameters={"a": ".", "b": "."})
    with pytest.raises(MisconfiguredSourceError, match="leads out of"):
        DelimitedFileSource(Settings(), tmp_path / "below").read(selection)


def test_an_at_sign_that_is_no_parameter_belongs_to_the_name(tmp_path: Path) -> None:
    (tmp_path / "me@home.csv").write_bytes(b"id\n1\n")
    source = DelimitedFileSource(Settings(), tmp_path)
    with source.read(Selection(path="me@home.csv", parameters={"day": "1"})) as reading:
        assert reading.columns == ("id",)
    with pytest.raises(MisconfiguredSourceError, match=r"@dya is no parameter of the sync; those are @day\."):
        source.read(Selection(path="@dya.csv", parameters={"day": "1"}))


def test_the_filter_is_left_to_the_engine(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id\n1\n2\n")
    source = DelimitedFileSource(Settings(), tmp_path)
    assert not source.filters_itself
    with source.read(Selection(path="a.csv", filter="id = 1")) as reading:
        assert sum(batch.num_rows for batch in reading.batches) == 2


def test_a_path_whose_parameter_is_not_known_yet_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredSourceError, match="depends on @day, whose value is asked for when a job starts"):
        DelimitedFileSource(Settings(), tmp_path).read(Selection(path="@day.csv", parameters={"day": None}))
