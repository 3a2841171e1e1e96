-- Who may have been referred by whom: an index for walking through the referral graph, where `referrals` would have to be
-- read and merged whole in each step. A party that several actions ascribe to different referrers has a row under each;
-- its journey says which of them is credited, so whatever is found here is looked up there.
--
-- Hashes, since a walk compares nothing else, and texts took it ten times as long. Two parties of the same hash would only
-- add one to what is found, which its journey drops again.
CREATE TABLE IF NOT EXISTS waymark.referees
(
    parent   UInt64  COMMENT 'cityHash64 of the referrer that an action named' CODEC(ZSTD(1)),
    node     UInt64  COMMENT 'cityHash64 of the party' CODEC(ZSTD(1)),
    party    String  COMMENT 'user, else visitor, else click' CODEC(ZSTD(1)),
    actions  UInt64  COMMENT 'of the party that named the referrer' CODEC(T64, ZSTD(1))
)
ENGINE = {{engine "SummingMergeTree"}}
ORDER BY (parent, node, party)
SETTINGS {{window}}
COMMENT 'Index from referrers to the parties that may be their referees; read through views ancestors and descendants';

CREATE MATERIALIZED VIEW IF NOT EXISTS waymark.referees_view TO waymark.referees AS
SELECT cityHash64(referrer_id) AS parent, cityHash64(party) AS node, party, count() AS actions
FROM waymark.events
WHERE stage NOT IN ('clicked', 'invited') AND referrer_id != ''
GROUP BY parent, node, party;

-- The referral graph. A party has one journey in a programme, and so at most one referrer: the graph is trees, and here
-- and there a ring of parties that referred each other, with the trees that hang from it. A party that referred itself
-- has an edge to itself.
CREATE OR REPLACE VIEW waymark.referral_edges
AS SELECT
    program, referrer, party AS referee, referrer_type, referee_type, link, link_key, campaign, channel,
    clicked_at, signed_up_at, activated_at, converted_at, retained_at, orders, value, refunds
FROM waymark.journeys
WHERE referrer != ''
COMMENT 'The referral graph: an edge from referrer to referee a row, with the time of each stage and what the referee is worth';

-- Up the tree: who brought a party (depth 1), who brought that one (depth 2), and so on, with the party itself as depth 0.
-- It ends with one that nobody referred, at depth_max (64 at most), or before it would come to a party again:
-- a self-referral ends it at once, a ring after one turn. A referrer of whom nothing else is known has a row without times.
--
-- `found` is who may be above, by way of the index: each at most once a step, by whichever path, and never who is on it,
-- since that one was found before. A step of a recursion must join nothing but tables: the engine gives
-- up (error 394) where a step or its start waits for the set of an IN. So the journeys are read once, as a scalar, and
-- followed from referrer to referrer.
CREATE OR REPLACE VIEW waymark.ancestors
AS WITH RECURSIVE
    found AS
    (
        SELECT toUInt8(0) AS depth, cityHash64({party:String}) AS node, [node] AS path
        UNION ALL
        SELECT toUInt8(f.depth + 1), r.parent, arrayPushBack(f.path, r.parent)
        FROM waymark.referees AS r
        INNER JOIN found AS f ON f.node = r.node
        WHERE f.depth < least({depth_max:UInt8}, 64) AND NOT has(f.path, r.parent)
        LIMIT 1 BY r.parent
    ),
    (
        SELECT groupArray((party, referrer, signed_up_at, activated_at, converted_at, retained_at, orders, value, refunds))
        FROM ({{template "journeys" "WHERE party IN (SELECT party FROM waymark.referees WHERE node IN (SELECT node FROM found) UNION ALL SELECT {party:String})"}}) AS j
        WHERE program = {program:String}
    ) AS journeys
SELECT
    {program:String}                                   AS program,
    toUInt8(position - 1)                              AS depth,
    party,
    j.2                                                AS referrer,
    j.3                                                AS signed_up_at,
    j.4                                                AS activated_at,
    j.5                                                AS converted_at,
    j.6                                                AS retained_at,
    j.7                                                AS orders,
    j.8                                                AS value,
    j.9                                                AS refunds
FROM
(
    SELECT
        arrayFold(
            (path, i) -> if(journeys.2[indexOf(journeys.1, path[-1])] IN ('', path[-1]) OR has(path, journeys.2[indexOf(journeys.1, path[-1])]),
                path, arrayPushBack(path, journeys.2[indexOf(journeys.1, path[-1])])),
            range(least({depth_max:UInt8}, 64)), [{party:String}]) AS path
) AS p
ARRAY JOIN path AS party, arrayEnumerate(path) AS position, arrayMap(x -> journeys[indexOf(journeys.1, x)], path) AS j
ORDER BY depth
COMMENT 'Who referred a party, and who referred that one: SELECT * FROM waymark.ancestors(program = ''wedding'', party = ''u-17'', depth_max = 64)';

-- Down the tree: whom a party brought (depth 1), whom those brought, and so on to depth_max (64 at most), with the party
-- itself as depth 0. `subtree` counts all those below a row, down to that depth, and `subtree_value` is what they paid.
--
-- `found` is who may be below, by way of the index. The journeys of those, a scalar as in ancestors, are then hung below each
-- other. A ring leads back to the party in depth 0 alone, since every other has one referrer, through which it was reached.
--
-- The sums take one pass: each row counts for every party of its path.
CREATE OR REPLACE VIEW waymark.descendants
AS WITH RECURSIVE
    found AS
    (
        SELECT toUInt8(0) AS depth, cityHash64({party:String}) AS node, {party:String} AS party, [node] AS path
        UNION ALL
        SELECT toUInt8(f.depth + 1), r.node, r.party, arrayPushBack(f.path, r.node)
        FROM waymark.referees AS r
        INNER JOIN found AS f ON f.node = r.parent
        WHERE f.depth < least({depth_max:UInt8}, 64) AND NOT has(f.path, r.node)
        LIMIT 1 BY r.node
    ),
    (
        SELECT groupArray((party, referrer, signed_up_at, activated_at, converted_at, retained_at, orders, value, refunds))
        FROM
        (
            -- The party itself has a row even if it has no journey.
            SELECT
                party, max(j.referrer) AS referrer, max(j.signed_up_at) AS signed_up_at, max(j.activated_at) AS activated_at, max(j.converted_at) AS converted_at,
                max(j.retained_at) AS retained_at, sum(j.orders) AS orders, sum(j.value) AS value, sum(j.refunds) AS refunds
            FROM
            (
                SELECT party, referrer, signed_up_at, activated_at, converted_at, retained_at, orders, value, refunds
                FROM ({{template "journeys" "WHERE party IN (SELECT party FROM found)"}}) AS i
                WHERE program = {program:String}
                UNION ALL
                SELECT {party:String}, '', NULL, NULL, NULL, NULL, 0, 0, 0
            ) AS j
            GROUP BY party
        )
    ) AS journeys,
    below AS
    (
        SELECT toUInt8(0) AS level, j, j.1 AS party, j.2 AS referrer, [party] AS path
        FROM (SELECT arrayJoin(journeys) AS j)
        WHERE j.1 = {party:String}
        UNION ALL
        SELECT toUInt8(b.level + 1), e.j, e.j.1, e.j.2, arrayPushBack(b.path, e.j.1)
        FROM (SELECT arrayJoin(journeys) AS j) AS e
        INNER JOIN below AS b ON b.party = e.j.2
        WHERE e.j.1 != {party:String} AND b.level < least({depth_max:UInt8}, 64)
    )
SELECT
    {program:String}                                   AS program,
    anyIf(b.level, node = b.party)                     AS depth,
    node                                               AS party,
    anyIf(b.referrer, node = b.party)                  AS referrer,
    anyIf(b.j.3, node = b.party)                       AS signed_up_at,
    anyIf(b.j.4, node = b.party)                       AS activated_at,
    anyIf(b.j.5, node = b.party)                       AS converted_at,
    anyIf(b.j.6, node = b.party)                       AS retained_at,
    sumIf(b.j.7, node = b.party)                       AS orders,
    sumIf(b.j.8, node = b.party)                       AS value,
    sumIf(b.j.9, node = b.party)                       AS refunds,
    countIf(node != b.party)                           AS subtree,
    sumIf(b.j.8, node != b.party)                      AS subtree_value
FROM below AS b
ARRAY JOIN b.path AS node
GROUP BY node
ORDER BY depth, party
COMMENT 'Whom a party referred, whom those referred, with what the tree below each is worth: SELECT * FROM waymark.descendants(program = ''wedding'', party = ''u-17'', depth_max = 64)';
