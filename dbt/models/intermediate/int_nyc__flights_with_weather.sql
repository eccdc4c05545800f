with

flights as (
    select * from {{ ref('stg_nyc__flights') }}
),

weather as (
    select * from {{ ref('stg_nyc__weather') }}
),

joined as (
    select
        flights.*,
        case
            when weather.hour_at is null then 'unknown'
            when
                weather.precipitation_inches >= 0.05
                or weather.visibility_miles < 3
                or weather.wind_speed_mph >= 25
                or weather.wind_gust_mph >= 35
                then 'bad'
            else 'fair'
        end as weather
    from flights
    left join weather
        on
            flights.origin_code = weather.airport_code
            and flights.scheduled_hour_at = weather.hour_at
)

select * from joined
