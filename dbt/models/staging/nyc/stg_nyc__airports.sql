with renamed as (
    select
        faa as airport_code,
        name as airport_name,
        tzone as time_zone,
        lat as latitude_degrees,
        lon as longitude_degrees,
        alt as altitude_feet,
        tz as winter_utc_offset_hours
    from {{ source('nyc', 'nyc_airports') }}
)

select * from renamed
