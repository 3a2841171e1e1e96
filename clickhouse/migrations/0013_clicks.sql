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
FROM
(
    SELECT program, dimension, key, hour, valid, unique, gross, hits FROM waymark.clicks_hourly
    UNION ALL
    SELECT program, 'link', link_key, toDateTime(day, 'UTC'), valid, unique, gross, hits FROM waymark.link_clicks_daily
    UNION ALL
    SELECT program, 'referrer', referrer, toDateTime(day, 'UTC'), valid, unique, gross, hits FROM waymark.link_clicks_daily
) AS c
GROUP BY program, dimension, key, hour
COMMENT 'Clicks per hour (link and referrer: per day, at its first hour) by programme and one dimension (WHERE dimension = ''country''; total for no breakdown): valid, unique and gross';
