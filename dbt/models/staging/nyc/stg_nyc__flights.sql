with renamed as (
    select
        carrier as carrier_code,
        flight as flight_number,
        origin as origin_code,
        dest as destination_code,
        tailnum as tail_number,
        dep_delay as departure_delay_minutes,
        arr_delay as arrival_delay_minutes,
        air_time as air_time_minutes,
        distance as distance_miles,
        dep_time is null as is_cancelled,
        time_hour as scheduled_hour_at,
        (time_hour at time zone 'America/New_York')::date as scheduled_date
    from {{ source('nyc', 'nyc_flights') }}
)

select * from renamed
