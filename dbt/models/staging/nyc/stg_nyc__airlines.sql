with renamed as (
    select
        carrier as carrier_code,
        name as carrier_name
    from {{ source('nyc', 'nyc_airlines') }}
)

select * from renamed
