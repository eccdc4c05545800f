"""The demo's flight files."""

import polars as pl

from deployments.demo.files import reissue_flight_files, write_flight_files


def contents(paths):
    return {path.name: path.read_bytes() for path in paths}


def test_twelve_months_hold_every_flight(tmp_path):
    paths = write_flight_files(tmp_path)
    frame = pl.concat([pl.read_csv(path, infer_schema=False) for path in paths])
    assert (len(paths), frame.height, frame["month"].n_unique()) == (12, 336_776, 12)


def test_a_second_call_touches_nothing(tmp_path):
    times = [path.stat().st_mtime_ns for path in write_flight_files(tmp_path)]
    assert [path.stat().st_mtime_ns for path in write_flight_files(tmp_path)] == times


def test_a_reissue_changes_the_bytes_and_no_record(tmp_path):
    before = contents(paths := write_flight_files(tmp_path))
    first = pl.read_csv(paths[0], infer_schema=False)
    after = contents(reissue_flight_files(tmp_path))
    assert not set(before.values()) & set(after.values())
    assert pl.read_csv(paths[0], infer_schema=False).reverse().equals(first)


def test_no_unfinished_file_is_left(tmp_path):
    folder = write_flight_files(tmp_path)[0].parent
    assert sorted(path.name for path in folder.iterdir()) == [f"2013-{month:02}.csv.gz" for month in range(1, 13)]
