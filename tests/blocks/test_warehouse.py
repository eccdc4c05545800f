"""Finding a warehouse and connecting to it."""


def test_connects_in_utc_by_both_drivers(warehouse):
    with warehouse.connect(autocommit=True) as connection:
        assert connection.execute("select current_setting('TimeZone')").fetchone() == ("UTC",)
    with warehouse.adbc() as connection, connection.cursor() as cursor:
        cursor.execute("select current_setting('TimeZone') as zone")
        assert cursor.fetch_arrow_table().to_pydict() == {"zone": ["UTC"]}
