-- Hits per link and day, and per link and month, with what describes the link: so every question about links alone, by
-- link, referrer, campaign, … and any combination of them, is answered here. The days serve what a period adds to its
-- whole months: of a year, the days have as many rows as four clicks in ten.
--
-- Sort key: the link first, so that what describes it is stored once.
{{define "link_clicks" -}}
CREATE TABLE IF NOT EXISTS waymark.link_clicks_{{if eq . "day"}}daily{{else}}monthly{{end}}
(
    program        LowCardinality(String)  CODEC(ZSTD(1)),
    link           UInt32                  COMMENT 'number of the link' CODEC(Delta, ZSTD(1)),
    code           String                  CODEC(ZSTD(1)),
    domain         LowCardinality(String)  CODEC(ZSTD(1)),
    campaign       LowCardinality(String)  CODEC(ZSTD(1)),
    channel        LowCardinality(String)  CODEC(ZSTD(1)),
    referrer       String                  CODEC(ZSTD(1)),
    referrer_type  LowCardinality(String)  CODEC(ZSTD(1)),
    referee_type   LowCardinality(String)  CODEC(ZSTD(1)),
    {{printf "%-13s" .}}  Date                    COMMENT 'first day of it, UTC' CODEC(Delta, ZSTD(1)),
    hits           UInt64                  COMMENT 'every hit, HEAD requests too' CODEC(T64, ZSTD(1)),
    gross          UInt64                  COMMENT 'hits answered to GET' CODEC(T64, ZSTD(1)),
    valid          UInt64                  COMMENT 'hits that somebody followed' CODEC(T64, ZSTD(1)),
    unique         UInt64                  COMMENT 'valid, one per visitor and link within the programme''s window' CODEC(T64, ZSTD(1)),
    link_key       String                  ALIAS if(domain = '', code, concat(domain, '/', code)),
    total          String                  ALIAS ''
)
ENGINE = {{engine "SummingMergeTree"}}
PARTITION BY toYYYYMM({{.}})
PRIMARY KEY (program, link)
ORDER BY (program, link, code, domain, campaign, channel, referrer, referrer_type, referee_type, {{.}})
SETTINGS {{window}}
COMMENT 'Hits per link and {{.}}, with what describes the link';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.link_clicks_{{if eq . "day"}}daily{{else}}monthly{{end}}_view TO waymark.link_clicks_{{if eq . "day"}}daily{{else}}monthly{{end}} AS
SELECT
    program, link, code, domain, campaign, channel, referrer_id AS referrer, referrer_type, referee_type,
    {{if eq . "day"}}toDate{{else}}toStartOfMonth{{end}}(time) AS {{.}},
    count()                                AS hits,
    countIf(bitAnd(reasons, 4) = 0)        AS gross,
    countIf(bitAnd(reasons, 1823) = 0)     AS valid,
    countIf(bitAnd(reasons, 1855) = 0)     AS unique
FROM waymark.events
WHERE stage = 'clicked'
GROUP BY program, link, code, domain, campaign, channel, referrer, referrer_type, referee_type, {{.}};
{{- end}}
{{template "link_clicks" "day"}}

{{template "link_clicks" "month"}}
