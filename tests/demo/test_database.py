"""The demo's source database."""

from deployments.demo.database import fill_source


def test_source_tables_hold_the_package_data(warehouse):
    with warehouse.connect() as conn:
        assert fill_source(conn) == {"airlines": 16, "airports": 1458, "planes": 3322}


def test_filling_again_changes_nothing(warehouse):
    with warehouse.connect() as conn:
        fill_source(conn)
        conn.execute("update planes set seats = 1 where tailnum = 'N10156'")
        assert fill_source(conn)["planes"] == 3322
        assert conn.execute("select seats from planes where tailnum = 'N10156'").fetchone() == (1,)


def test_missing_values_become_null(warehouse):
    with warehouse.connect() as conn:
        fill_source(conn)
        assert conn.execute("select count(*) from planes where speed is null").fetchone() == (3299,)
