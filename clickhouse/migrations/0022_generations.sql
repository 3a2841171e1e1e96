-- The referral graph in layers. Generation 0 are the parties that nobody referred (but perhaps themselves), referrers of
-- whom nothing else is known among them; generation n + 1 are those whom generation n referred. Parties in a ring, or below one, come from
-- no generation, nor do those deeper than 64: for them it is null.
--
-- The graph is read once, as a scalar; a step finds those whom the parties of the step before referred. It names `levels`
-- once only: in a view, a second mention (IN, or a join of those left over) reads rows of the step itself.
--
-- Parties go by a hash of programme and party, as in `resolved`, from which their value comes.
CREATE OR REPLACE VIEW waymark.generations
AS WITH RECURSIVE
    (
        SELECT groupArray((program, node, parent, signup, conversion, value))
        FROM
        (
            SELECT
                toString(g.program) AS program, g.node AS node,
                max(g.parent) AS parent, max(g.signup) AS signup, max(g.conversion) AS conversion, sum(g.value) AS value
            FROM
            (
                -- The referrer, too, in case that nothing else is known of it.
                SELECT program, edge.1 AS node, edge.2 AS parent, edge.3 AS signup, edge.4 AS conversion, toDecimal128(0, 6) AS value
                FROM
                (
                    SELECT
                        program, cityHash64(program, cityHash64(party)) AS self, if(referrer IN ('', party), 0, cityHash64(program, cityHash64(referrer))) AS referred,
                        signed_up_at IS NOT NULL AS signed_up, converted_at IS NOT NULL AS converted
                    FROM waymark.resolved_journeys
                ) AS s
                ARRAY JOIN if(referred = 0, [(self, referred, signed_up, converted)], [(self, referred, signed_up, converted), (referred, 0, false, false)]) AS edge
                UNION ALL
                SELECT program, cityHash64(program, who), 0, false, false, value
                FROM waymark.resolved
                WHERE stage = 'converted'
            ) AS g
            GROUP BY program, node
        )
    ) AS graph,
    levels AS
    (
        SELECT toInt16(0) AS generation, p.1 AS program, p.2 AS node, p.4 AS signup, p.5 AS conversion, p.6 AS value
        FROM (SELECT arrayJoin(graph) AS p)
        WHERE p.3 = 0
        UNION ALL
        SELECT toInt16(l.generation + 1), e.p.1, e.p.2, e.p.4, e.p.5, e.p.6
        FROM (SELECT arrayJoin(graph) AS p) AS e
        INNER JOIN levels AS l ON l.node = e.p.3
        WHERE l.generation < 64
    )
-- Of no generation are all, less those of any.
SELECT
    a.program                                          AS program,
    nullIf(place.1, -1)                                AS generation,
    sum(place.2)                                       AS parties,
    sum(place.2 * a.signup)                            AS signups,
    sum(place.2 * a.conversion)                        AS conversions,
    sum(place.2 * a.value)                             AS value
FROM
(
    SELECT generation, program, signup, conversion, value FROM levels
    UNION ALL
    SELECT toInt16(-1), p.1, p.4, p.5, p.6 FROM (SELECT arrayJoin(graph) AS p)
) AS a
ARRAY JOIN if(a.generation = -1, [(a.generation, toInt8(1))], [(a.generation, toInt8(1)), (toInt16(-1), toInt8(-1))]) AS place
GROUP BY a.program, place.1
HAVING parties > 0
ORDER BY program, generation NULLS LAST
COMMENT 'The referral graph in layers: generation 0 nobody referred, generation n + 1 was referred by generation n, null comes from a ring';
