with

flights as (
    select * from {{ ref('int_nyc__flights_with_weather') }}
),

airlines as (
    select * from {{ ref('stg_nyc__airlines') }}
),

by_carrier_month as (
    select
        carrier_code,
        date_trunc('month', scheduled_date)::date as month,
        count(*) as flights,
        count(*) filter (where is_cancelled) as cancelled,
        count(*) filter (where weather = 'bad') as flights_in_bad_weather,
        avg(departure_delay_minutes) as departure_delay,
        avg(arrival_delay_minutes) as arrival_delay,
        avg(arrival_delay_minutes) filter (where weather = 'fair') as arrival_delay_in_fair_weather,
        avg(arrival_delay_minutes) filter (where weather = 'bad') as arrival_delay_in_bad_weather,
        avg((arrival_delay_minutes > 15)::int) as late_share
    from flights
    group by carrier_code, date_trunc('month', scheduled_date)
)

select
    by_carrier_month.carrier_code,
    airlines.carrier_name,
    by_carrier_month.month,
    by_carrier_month.flights,
    by_carrier_month.cancelled,
    by_carrier_month.flights_in_bad_weather,
    round(by_carrier_month.departure_delay, 1) as mean_departure_delay_minutes,
    round(by_carrier_month.arrival_delay, 1) as mean_arrival_delay_minutes,
    round(by_carrier_month.arrival_delay_in_fair_weather, 1) as mean_arrival_delay_in_fair_weather_minutes,
    round(by_carrier_month.arrival_delay_in_bad_weather, 1) as mean_arrival_delay_in_bad_weather_minutes,
    round(100 * by_carrier_month.late_share, 1) as late_percent
from by_carrier_month
left join airlines on by_carrier_month.carrier_code = airlines.carrier_code
