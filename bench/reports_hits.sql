{{define "settings" -}}
SETTINGS max_threads = 2, max_insert_threads = 1, insert_deduplicate = 0, parallel_view_processing = 1, max_block_size = 65536, max_insert_block_size = 1000000,
    min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 0, min_insert_block_size_rows_for_materialized_views = 1000000,
    min_insert_block_size_bytes_for_materialized_views = 0
{{- end -}}
-- Hits first to first + count - 1 of a year: each is a function of its number alone, so that the actions that follow
-- from it can be made without looking it up. Few links and visitors have most of the hits. Four hits in ten are by
-- somebody who came before; of a hundred, ten are robots', five repeats, five without an identity, two something else.
{{define "all" -}}
SELECT
    number AS i,
    fromUnixTimestamp64Milli(toInt64({{.StartMS}} + intDiv(i * {{.SpanMS}}, {{.Events}})), 'UTC') AS time,
    toUInt32(1 + {{.Links}} * pow(cityHash64(i, 'link') / 18446744073709551616., 3)) AS link,
    cityHash64(link) AS l,
    ['general', 'wedding', 'insurance', 'contest'][1 + multiIf(l % 10 < 4, 0, l % 10 < 7, 1, l % 10 < 9, 2, 3)] AS program,
    concat('campaign-', toString(intDiv(l, 16) % 20)) AS campaign,
    ['link', 'qr', 'email', 'social', 'phone', 'partner'][1 + intDiv(l, 1024) % 6] AS channel,
    concat('C', hex(toUInt32(l))) AS code,
    link % {{.Referrers}} AS r,
    concat('r-', toString(r)) AS referrer_id,
    ['supplier', 'couple', 'agent'][1 + r % 3] AS referrer_type,
    ['couple', 'supplier', 'lead'][1 + intDiv(l, 65536) % 3] AS referee_type,
    cityHash64(i, 'visitor') AS v,
    if(v % 10 < 6 OR i < 1000, i, i - 1 - intDiv(v, 16) % least(i - 1, intDiv({{.Events}}, 20))) AS who,
    toUInt32([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 1, 1, 64][1 + cityHash64(i, 'reason') % 20]
        + if(cityHash64(i, 'rare') % 50 = 0, [2, 4, 8, 16][1 + intDiv(cityHash64(i, 'rare'), 64) % 4], 0)) AS reasons,
    if(bitAnd(reasons, 64) != 0, 0, cityHash64(who, 'identity')) AS visitor_id,
    cityHash64(who) AS w,
    ['US', 'DE', 'GB', 'FR', 'AT', 'CH', 'NL', 'ES', 'IT', 'PL', 'SE', 'DK', 'NO', 'FI', 'PT', 'IE', 'BE', 'CZ', 'HU', 'RO',
     'GR', 'BG', 'HR', 'SI', 'SK', 'EE', 'LV', 'LT', 'CA', 'AU', 'NZ', 'BR', 'MX', 'IN', 'JP', 'KR', 'ZA', 'TR', 'AR', 'CL'
    ][1 + toUInt32(40 * pow((w % 1000003) / 1000003, 2))] AS country,
    concat(country, '-', toString(intDiv(w, 4096) % 8)) AS region,
    concat('City ', toString(intDiv(w, 4096) % 64), ' of ', country) AS city,
    toUInt32(1000 + intDiv(w, 1048576) % 400) AS network,
    ['mobile', 'mobile', 'mobile', 'desktop', 'desktop', 'tablet'][1 + intDiv(w, 7) % 6] AS device,
    ['Chrome', 'Chrome', 'Chrome', 'Safari', 'Safari', 'Firefox', 'Edge', 'Samsung Internet'][1 + intDiv(w, 77) % 8] AS browser,
    ['Android', 'Android', 'iOS', 'Windows', 'macOS', 'Linux'][1 + intDiv(w, 777) % 6] AS os,
    ['en', 'en', 'de', 'fr', 'es', 'it'][1 + intDiv(w, 7777) % 6] AS language,
    ['', '', '', 'instagram.com', 'facebook.com', 't.co', 'google.com', 'reddit.com'][1 + cityHash64(i, 'host') % 8] AS referrer_host,
    toUInt16(1 + i % 4) AS node,
    toUInt16(i % 3) AS sequence
FROM numbers({{.First}}, {{.Count}})
{{- end -}}
INSERT INTO waymark.events (event, stage, time, program, campaign, channel, link, code, referrer_id, referrer_type, referee_type,
    node, sequence, reasons, visitor_id, country, region, city, network, device, browser, os, language, referrer_host, address_hash, source, partition, offset)
SELECT if(i % 8 = 0, 'scan', 'click'), 'clicked', time, program, campaign, channel, link, code, referrer_id, referrer_type, referee_type,
    node, sequence, reasons, visitor_id, country, region, city, network, device, browser, os, language, referrer_host, cityHash64(w, toDate(time)), 1, node, i
FROM ({{template "all" .}})
{{template "settings"}}
