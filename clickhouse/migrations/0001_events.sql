-- The raw table of what was sent: a row for every hit on a known link and for every action. Columns are the fields of
-- wire.Event. What the installation itself decides is in a table of its own below, so that whoever counts events finds
-- what somebody sent, and nothing else.
--
-- Sort key. `stage` comes first, so that the few per cent of rows which are actions form ranges of their own, and each
-- step of the funnel is read without touching a click. Then the day, so that a period (or the ragged end of one, see
-- reports/clicks.sql) reads its days alone. Then the link: whatever describes a link repeats from row to row and
-- compresses to nothing, where sorting by time alone would pay for the code and the referrer in every row.
-- A month a partition: the unit in which history is dropped.
--
-- Codecs. ZSTD(1) throughout: the many columns of few values take half of what they take with LZ4, and ZSTD(3) took
-- only 3 % off the largest text, code. T64 first for time and offset: within a link and day they lie in a narrow range, of which it keeps the low bits (differences, the usual
-- choice, cost 17 % more here). Random numbers (visitor_id, address_hash) take their eight bytes whatever the codec.
--
-- ordinal is kept as its distance to the offset: a node writes both in step into one partition, so the distance is
-- constant over long runs and costs nothing, where the ordinal itself would cost two bytes a click.
CREATE TABLE IF NOT EXISTS waymark.events
(
    event           LowCardinality(String)               COMMENT 'click, scan, invite, signup, activate, purchase, refund, retain, churn or a custom name' CODEC(ZSTD(1)),
    stage           LowCardinality(String)               COMMENT 'stage of the funnel that the event reaches, or empty' CODEC(ZSTD(1)),
    time            DateTime64(3, 'UTC')                 COMMENT 'when it happened' CODEC(T64, ZSTD(1)),
    program         LowCardinality(String)               COMMENT 'programme; empty on an action that named a user only, see view actions' CODEC(ZSTD(1)),
    campaign        LowCardinality(String)               COMMENT 'campaign of the link' CODEC(ZSTD(1)),
    channel         LowCardinality(String)               COMMENT 'channel of the link: email, link, qr, social, …' CODEC(ZSTD(1)),
    link            UInt32                               COMMENT 'number of the link, 0 for none' CODEC(Delta, ZSTD(1)),
    code            String                               COMMENT 'code of the link' CODEC(ZSTD(1)),
    domain          LowCardinality(String)               COMMENT 'domain of the link, empty for the default one' CODEC(ZSTD(1)),
    referrer_id     String                               COMMENT 'party that shared the link' CODEC(ZSTD(1)),
    referrer_type   LowCardinality(String)               COMMENT 'type of the party that shared the link' CODEC(ZSTD(1)),
    referee_type    LowCardinality(String)               COMMENT 'type of the party that the link is meant for' CODEC(ZSTD(1)),
    node            UInt16                               COMMENT 'edge node that took it' CODEC(ZSTD(1)),
    sequence        UInt16                               COMMENT 'of a hit within its node and millisecond' CODEC(ZSTD(1)),
    reasons         UInt32                               COMMENT 'bit set of what is special, spelt out in reason_names' CODEC(ZSTD(1)),
    visitor_id      UInt64                               COMMENT 'browser, 0 for none' CODEC(ZSTD(1)),
    click_time      DateTime64(3, 'UTC')                 COMMENT 'of an action: time of its click, 1970 for none' CODEC(ZSTD(1)),
    click_node      UInt16                               COMMENT 'of an action: node of its click' CODEC(ZSTD(1)),
    click_sequence  UInt16                               COMMENT 'of an action: sequence of its click' CODEC(ZSTD(1)),
    id              String                               COMMENT 'idempotency key of an action' CODEC(ZSTD(1)),
    user_id         String                               COMMENT 'person as the customer knows it' CODEC(ZSTD(1)),
    order_id        String                               COMMENT 'order of a purchase or refund' CODEC(ZSTD(1)),
    value           Decimal(18, 6)                       COMMENT 'in the currency of the programme; positive on a refund too' CODEC(ZSTD(1)),
    currency        LowCardinality(String)               COMMENT 'ISO 4217' CODEC(ZSTD(1)),
    plan            LowCardinality(String)               COMMENT 'what the person bought' CODEC(ZSTD(1)),
    properties      Map(LowCardinality(String), String)  COMMENT 'whatever else the customer sent' CODEC(ZSTD(1)),
    touches         Nested
    (
        link        UInt32,
        time        DateTime64(3, 'UTC'),
        channel     LowCardinality(String)
    )                                                    COMMENT 'of an action: valid clicks of the visitor before it, oldest first',
    country         LowCardinality(String)               COMMENT 'ISO 3166-1 alpha-2' CODEC(ZSTD(1)),
    region          LowCardinality(String)               COMMENT 'ISO 3166-2' CODEC(ZSTD(1)),
    city            LowCardinality(String)               CODEC(ZSTD(1)),
    network         UInt32                               COMMENT 'autonomous system number' CODEC(ZSTD(1)),
    device          LowCardinality(String)               COMMENT 'desktop, mobile, tablet, tv, bot or other' CODEC(ZSTD(1)),
    browser         LowCardinality(String)               CODEC(ZSTD(1)),
    os              LowCardinality(String)               CODEC(ZSTD(1)),
    language        LowCardinality(String)               COMMENT 'first tag of Accept-Language' CODEC(ZSTD(1)),
    referrer_host   LowCardinality(String)               COMMENT 'host of the Referer header' CODEC(ZSTD(1)),
    utm_source      LowCardinality(String)               CODEC(ZSTD(1)),
    utm_medium      LowCardinality(String)               CODEC(ZSTD(1)),
    utm_campaign    LowCardinality(String)               CODEC(ZSTD(1)),
    utm_term        LowCardinality(String)               CODEC(ZSTD(1)),
    utm_content     LowCardinality(String)               CODEC(ZSTD(1)),
    address_hash    UInt64                               COMMENT 'keyed hash of the address; the key rotates daily' CODEC(ZSTD(1)),
    source          UInt32                               COMMENT 'number of the Kafka topic' CODEC(ZSTD(1)),
    partition       UInt16                               COMMENT 'Kafka partition' CODEC(ZSTD(1)),
    offset          UInt64                               COMMENT 'Kafka offset' CODEC(T64, ZSTD(1)),
    ordinal_shift   Int64                                COMMENT 'ordinal minus offset' CODEC(Delta, ZSTD(1)),

    -- Computed when read; not part of SELECT *.
    ordinal         UInt64                               ALIAS toUInt64(offset + ordinal_shift)
                                                         COMMENT 'contiguous per node in the order of its spool',
    gross           Bool                                 ALIAS bitAnd(reasons, 4) = 0
                                                         COMMENT 'a hit that was answered to GET',
    valid           Bool                                 ALIAS bitAnd(reasons, 1823) = 0
                                                         COMMENT 'a hit that somebody followed: not bot, prefetch, head, preview, datacenter, inactive, early or expired',
    unique          Bool                                 ALIAS bitAnd(reasons, 1855) = 0
                                                         COMMENT 'valid and not a repeat within the programme''s window',
    reason_names    Array(LowCardinality(String))        ALIAS arrayMap(
                        bit -> transform(bit,
                            [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096],
                            ['bot', 'prefetch', 'head', 'preview', 'datacenter', 'repeat', 'gpc', 'unverified', 'inactive', 'early', 'expired', 'simulated', 'late'],
                            toString(bit)),
                        bitmaskToArray(reasons))
                                                         COMMENT 'names of the reasons, in bit order',
    click           String                               ALIAS multiIf(
                        stage = 'clicked', concat(toString(toUnixTimestamp64Milli(time)), '-', toString(node), '-', toString(sequence)),
                        toUnixTimestamp64Milli(click_time) != 0, concat(toString(toUnixTimestamp64Milli(click_time)), '-', toString(click_node), '-', toString(click_sequence)),
                        '')
                                                         COMMENT 'identity of a hit, and of the hit that an action belongs to: joins the two',
    party           String                               ALIAS multiIf(
                        user_id != '', user_id,
                        visitor_id != 0, concat('visitor:', lpad(lower(hex(visitor_id)), 16, '0')),
                        click != '', concat('click:', click),
                        concat('action:', id))
                                                         COMMENT 'who is counted: the user, else the visitor, else the click',
    link_key        String                               ALIAS if(domain = '', code, concat(domain, '/', code))
                                                         COMMENT 'the code, with its domain unless that is the default one',

    -- A range of offsets lies within a day or two of the sort order, so its smallest and largest value per granule
    -- spare all others. This serves CountRange and the audit.
    INDEX offsets offset TYPE minmax GRANULARITY 1
)
ENGINE = {{engine "MergeTree"}}
PARTITION BY toYYYYMM(time)
ORDER BY (stage, toDate(time), link, time)
SETTINGS {{window}}
COMMENT 'Every hit on a link and every action, one row each';

-- The raw table of what this installation itself decides: entries of the ledger of rewards, assessments and decisions about
-- fraud, changes of partners, the audit log. Columns are the fields of wire.Event that these have.
--
-- Sort key. Each view reads one kind, and what is read of one programme lies together. Time comes before id, although
-- the entries of a chain would then compress together: offsets must rise with the rows, or the index on them spares nothing.
CREATE TABLE IF NOT EXISTS waymark.decisions
(
    event       LowCardinality(String)               COMMENT 'reward_entry, fraud_assessment, fraud_decision, partner_change or audit_entry' CODEC(ZSTD(1)),
    time        DateTime64(3, 'UTC')                 COMMENT 'when it takes effect' CODEC(T64, ZSTD(1)),
    program     LowCardinality(String)               COMMENT 'programme, empty where it is about none' CODEC(ZSTD(1)),
    user_id     String                               COMMENT 'party it is about' CODEC(ZSTD(1)),
    id          String                               COMMENT 'what makes it one: of several with one id the first counts' CODEC(ZSTD(1)),
    value       Decimal(18, 6)                       COMMENT 'signed, in the currency of the programme' CODEC(ZSTD(1)),
    currency    LowCardinality(String)               COMMENT 'ISO 4217' CODEC(ZSTD(1)),
    properties  Map(LowCardinality(String), String)  COMMENT 'everything else; the tables that the views fill have it by name' CODEC(ZSTD(1)),
    source      UInt32                               COMMENT 'number of the Kafka topic' CODEC(ZSTD(1)),
    partition   UInt16                               COMMENT 'Kafka partition' CODEC(ZSTD(1)),
    offset      UInt64                               COMMENT 'Kafka offset' CODEC(T64, ZSTD(1)),

    INDEX offsets offset TYPE minmax GRANULARITY 1
)
ENGINE = {{engine "MergeTree"}}
PARTITION BY toYYYYMM(time)
ORDER BY (event, program, time, id)
SETTINGS {{window}}
COMMENT 'Everything that this installation itself decided, one row each';
