with

flights as (
    select * from {{ ref('stg_nyc__flights') }}
),

airports as (
    select * from {{ ref('stg_nyc__airports') }}
),

planes as (
    select * from {{ ref('stg_nyc__planes') }}
),

by_route as (
    select
        flights.origin_code,
        flights.destination_code,
        count(*) as flights,
        count(*) filter (where flights.is_cancelled) as cancelled,
        count(distinct flights.carrier_code) as carriers,
        max(flights.distance_miles) as distance_miles,
        avg(flights.air_time_minutes) as air_time,
        avg(flights.arrival_delay_minutes) as arrival_delay,
        sum(planes.seat_count) filter (where not flights.is_cancelled) as seats_flown
    from flights
    left join planes on flights.tail_number = planes.tail_number
    group by flights.origin_code, flights.destination_code
)

select
    by_route.origin_code,
    by_route.destination_code,
    airports.airport_name as destination_name,
    by_route.flights,
    by_route.cancelled,
    by_route.carriers,
    by_route.seats_flown,
    by_route.distance_miles,
    round(by_route.air_time, 1) as mean_air_time_minutes,
    round(by_route.arrival_delay, 1) as mean_arrival_delay_minutes
from by_route
left join airports on by_route.destination_code = airports.airport_code
