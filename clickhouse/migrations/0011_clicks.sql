CREATE OR REPLACE VIEW waymark.clicks
AS SELECT
    program,
    dimension,
    key,
    hour,
    sum(c.valid)   AS clicks,
    sum(c.unique)  AS unique,
    sum(c.gross)   AS gross,
    sum(c.hits)    AS hits
FROM waymark.clicks_hourly AS c
GROUP BY program, dimension, key, hour
COMMENT 'Clicks per hour by programme and one dimension (WHERE dimension = ''country''; total for no breakdown): valid, unique and gross';
