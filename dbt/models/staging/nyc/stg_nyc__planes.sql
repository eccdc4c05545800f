with renamed as (
    select
        tailnum as tail_number,
        manufacturer,
        model,
        type as plane_type,
        engine as engine_type,
        engines as engine_count,
        seats as seat_count,
        year as built_year
    from {{ source('nyc', 'nyc_planes') }}
)

select * from renamed
