-- The mart and the loaded table count the same flights; otherwise a join lost or doubled some.
with

counted as (
    select
        (select count(*) from {{ ref('stg_nyc__flights') }}) as loaded,
        (select coalesce(sum(flights), 0) from {{ ref('delay_by_carrier_month') }}) as by_carrier_month,
        (select coalesce(sum(flights), 0) from {{ ref('routes') }}) as by_route
)

select *
from counted
where loaded <> by_carrier_month or loaded <> by_route
