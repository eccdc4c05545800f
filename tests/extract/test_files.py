"""Files: what is read, what is read again, and what the user sees when a file is at fault."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from tasks.batch import Position
from tasks.errors import BadData, Misconfigured
from tasks.extract.delimited import Csv
from tasks.extract.files import Files
from tasks.extract.source import Page, Request


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    (made / "good.csv").write_text("id,name\n1,a\n2,b\n")
    return made


def read(folder: Path, **options: object) -> list[Page]:
    return list(Files(str(folder), **options).read(Request("things")))  # type: ignore[arg-type]  # whatever a test gives


def refused(folder: Path, **options: object) -> str:
    """The error's text; every good file must have been read before it."""
    pages: list[Page] = []
    with pytest.raises(BadData) as caught:
        pages.extend(Files(str(folder), **options).read(Request("things")))  # type: ignore[arg-type]  # whatever a test gives
    assert [Path(page.origin).name for page in pages] == ["good.csv"]
    assert "1 of the files" in caught.value.what
    assert "all other files were read" in caught.value.do
    return caught.value.what


TABLE = pl.DataFrame({"id": [1], "name": ["a"]})
DAMAGED: dict[str, tuple[str, bytes, str]] = {
    "too many fields": ("bad.csv", b"id,name\n1,a\n2,b,c\n", "bad.csv: line 3: 3 fields where the header has 2"),
    "too few fields": ("bad.csv", b"id,name\n1\n", "line 2: 1 fields where the header has 2"),
    "wrong encoding": ("bad.csv", "id,name\n1,a\n2,é\n".encode("cp1252"), "line 3: Byte 14 (0xe9) is not utf-8"),
    "wrong encoding in the header": ("bad.csv", "id,n\xe9\n1,a\n".encode("cp1252"), "line 1: Byte 4 (0xe9) is not utf-8"),
    "no header": ("bad.csv", b"", "It is empty, without even a header"),
    "header twice": ("bad.csv", b"id,id\n1,2\n", "'id' more than once"),
    "open quote": ("bad.csv", b'id,name\n1,"' + b"x" * 9_000_000, "quote that is not closed"),
    "truncated gzip": ("bad.csv.gz", gzip.compress(os.urandom(3000).hex().encode())[:-900], "the file is truncated"),
    "no gzip": ("bad.csv.gz", b"id,name\n1,a\n", "It is no intact gz file"),
    "no zip": ("bad.csv.zip", b"id,name\n1,a\n", "It is no intact zip file"),
    "no zst": ("bad.csv.zst", b"id,name\n1,a\n", "It is no intact zst file"),
    "no json": ("bad.jsonl", b'{"id": 1}\n\n{"id"\n', "line 3: It is no JSON"),
    "no object": ("bad.jsonl", b'{"id": 1}\n[2]\n', "line 2: It is no JSON object"),
    "no parquet": ("bad.parquet", b"PAR1 nothing of the kind PAR1", "It is no readable Parquet file"),
    "unknown suffix": ("bad.xyz", b"?", "suffix"),
    "a bomb": ("bad.csv.gz", gzip.compress(b"id,name\n" + b"1,a\n" * 20_000_000), "expands to more than"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_an_unreadable_file_is_named_and_the_others_are_read(case: str, folder: Path) -> None:
    name, content, expected = DAMAGED[case]
    (folder / name).write_bytes(content)
    assert expected in refused(folder, max_ratio=10)


def test_a_truncated_parquet_file_is_named(folder: Path) -> None:
    buffer = io.BytesIO()
    TABLE.write_parquet(buffer)
    (folder / "bad.parquet").write_bytes(buffer.getvalue()[:-20])
    assert "no readable Parquet" in refused(folder)


def test_a_fault_at_the_end_gives_no_row_of_the_file(folder: Path) -> None:
    (folder / "bad.csv").write_text("id,name\n" + "1,a\n" * 100 + "1,a,b\n")
    pages: list[Page] = []
    with pytest.raises(BadData, match="line 102"):
        pages.extend(Files(str(folder)).read(Request("things", batch_rows=10)))
    assert {Path(page.origin).name for page in pages} == {"good.csv"}


def test_a_file_that_vanishes_is_named(folder: Path) -> None:
    (folder / "zz.csv").write_text("id\n1\n")
    reading = Files(str(folder)).read(Request("things"))
    next(reading)
    (folder / "zz.csv").unlink()
    with pytest.raises(BadData, match="vanished"):
        next(reading)


def test_a_file_that_failed_is_tried_again_when_the_read_goes_on(folder: Path) -> None:
    (folder / "bad.csv").write_text("id,name\n1\n")
    source = Files(str(folder))
    page = next(source.read(Request("things")))
    (folder / "bad.csv").write_text("id,name\n7,x\n")
    again = list(source.read(Request("things", start=page.position)))
    assert [each.rows["id"].to_list() for each in again] == [["7"]]


@pytest.mark.parametrize("kind", ["gz", "zip", "zst"])
def test_compressed_files_are_read(kind: str, folder: Path) -> None:
    content = b"id,name\n3,c\n"
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("x.csv", content)
    elif kind == "gz":
        buffer.write(gzip.compress(content))
    else:
        buffer = _zstd(content)
    (folder / f"good.csv.{kind}").write_bytes(buffer.getvalue())
    assert read(folder, glob=f"*.{kind}")[0].rows.rows() == [("3", "c")]


def _zstd(content: bytes) -> io.BytesIO:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(content)
    return io.BytesIO(sink.getvalue().to_pybytes())


def test_only_new_and_changed_files_are_read(folder: Path) -> None:
    seen = dict(read(folder)[0].position.items)
    (folder / "more.csv").write_text("id,name\n3,c\n")
    second = list(Files(str(folder)).read(Request("things", seen=seen)))
    assert [Path(page.origin).name for page in second] == ["more.csv"]
    (folder / "good.csv").write_text("id,name\n9,z\n")
    seen |= dict(second[0].position.items)
    assert [page.rows["id"].to_list() for page in Files(str(folder)).read(Request("things", seen=seen))] == [["9"]]
    assert len(list(Files(str(folder)).read(Request("things", seen=seen, full=True)))) == 2


def test_a_changed_file_is_not_continued_in_the_middle(folder: Path) -> None:
    page = next(Files(str(folder)).read(Request("things", batch_rows=1)))
    (folder / "good.csv").write_text("id,name\n7,a\n8,b\n")
    again = list(Files(str(folder)).read(Request("things", start=page.position)))
    assert again[0].rows["id"].to_list() == ["7", "8"]


def test_csv_fields_are_untouched_text(folder: Path) -> None:
    (folder / "raw.csv").write_text('a,b,c\n007,"",1e5\n,NA," x "\n"l1\nl2","say ""hi""",true\n')
    rows = read(folder, glob="raw.csv", csv=Csv(null_values=("", "NA")))[0].rows
    assert rows.rows() == [("007", "", "1e5"), (None, None, " x "), ("l1\nl2", 'say "hi"', "true")]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8-sig"])
def test_a_named_encoding_is_read(encoding: str, folder: Path) -> None:
    (folder / "é.csv").write_bytes("naïve;b\né;2\n".encode(encoding))
    frame = read(folder, glob="é.csv", csv=Csv(separator=";", encoding=encoding))[0].rows
    assert frame.to_dicts() == [{"naïve": "é", "b": "2"}]


def test_a_header_alone_is_no_rows(folder: Path) -> None:
    (folder / "good.csv").write_text("id,name")
    page = read(folder)[0]
    assert (page.rows.columns, page.rows.height, len(page.position.items)) == (["id", "name"], 0, 1)


def test_a_file_without_header_gets_numbered_columns(folder: Path) -> None:
    assert read(folder, csv=Csv(header=False))[0].rows.columns == ["column_1", "column_2"]


def test_a_blank_line_of_a_single_column_is_a_null(folder: Path) -> None:
    (folder / "good.csv").write_text("id\n1\n\n3\n")
    assert read(folder)[0].rows["id"].to_list() == ["1", None, "3"]


def test_mixed_json_types_become_text(folder: Path) -> None:
    (folder / "x.jsonl").write_text('{"a": 1, "b": {"c": 1}}\n{"a": "x", "b": {"c": [2]}}\n')
    rows = read(folder, glob="*.jsonl")[0].rows
    assert rows.to_dicts() == [{"a": "1", "b": {"c": "1"}}, {"a": "x", "b": {"c": "[2]"}}]


def test_parquet_types_are_kept_and_categories_are_text(folder: Path) -> None:
    frame = pl.DataFrame({"day": [1], "kind": ["x"]}).with_columns(pl.col("day").cast(pl.Date), pl.col("kind").cast(pl.Categorical))
    frame.write_parquet(folder / "x.parquet")
    assert dict(read(folder, glob="*.parquet")[0].rows.schema) == {"day": pl.Date, "kind": pl.String}


def test_a_state_folder_is_found_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Files("state:drop", glob="*.csv")
    monkeypatch.setenv("MILLRACE_STATE", str(tmp_path / "s"))
    (tmp_path / "s" / "drop").mkdir(parents=True)
    (tmp_path / "s" / "drop" / "a.csv").write_text("id\n1\n")
    assert [page.rows.height for page in source.read(Request("things"))] == [1]


def test_a_missing_folder_is_misconfigured(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="There is no folder"):
        read(tmp_path / "nowhere")


def test_files_that_are_still_written_wait(folder: Path) -> None:
    assert read(folder, settle="1h") == []
    os.utime(folder / "good.csv", (1, 1))
    assert len(read(folder, settle="1h")) == 1


def test_the_row_in_the_file_can_be_told(folder: Path) -> None:
    (folder / "good.csv").write_text("id\n" + "".join(f"{i}\n" for i in range(10)))
    pages = list(Files(str(folder)).read(Request("things", batch_rows=4)))
    starts = [(page.position.resume or {})["row"] - page.rows.height for page in pages]
    assert [page.rows["id"][0] for page in pages] == [str(start) for start in starts]


def test_a_position_in_a_limited_read_goes_on_within_the_file(folder: Path) -> None:
    pages = list(Files(str(folder)).read(Request("things", limit=1)))
    assert [page.rows["id"].to_list() for page in pages] == [["1"]]
    assert not pages[-1].position.items
    rest = Files(str(folder)).read(Request("things", start=Position.from_json(pages[-1].position.to_json())))
    assert [page.rows["id"].to_list() for page in rest] == [["2"]]
