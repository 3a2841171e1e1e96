package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"waymark/pipeline"
)

// kafkaEngine lets ClickHouse's own Kafka engine read the topics. It decodes
// Protobuf by the schema that Waymark writes with, and a view puts the columns
// in the order of events. It does less than ingest: no repeats are dropped,
// nothing is planned, and a crash inserts rows twice.
func (r *ingestRace) kafkaEngine(ctx context.Context, e *engineProcess) (heat, error) {
	schema, err := filepath.Abs(filepath.Join("tracker", "wire", "wire.proto"))
	if err == nil {
		_, err = os.Stat(schema)
	}
	if err != nil {
		return heat{}, fmt.Errorf("find the schema of the topics; run this at the top of the repository: %w", err)
	}
	began := time.Now()
	for i, topic := range []string{pipeline.TopicClicks, pipeline.TopicActions} {
		source := fmt.Sprintf("waymark.kafka_%d", i)
		table := "CREATE TABLE " + source + " (" + strings.Join(kafkaColumns, ", ") + `) ENGINE = Kafka
			SETTINGS kafka_broker_list = '` + r.topic.address + `', kafka_topic_list = '` + topic + `', kafka_group_name = '` + fmt.Sprint("engine-", time.Now().UnixNano()) + `',
			kafka_format = 'ProtobufSingle', kafka_schema = '` + schema + `:Event', kafka_max_block_size = ` + fmt.Sprint(r.BlockRows) + `,
			kafka_poll_max_batch_size = 65536, kafka_num_consumers = 1`
		if err := e.exec(ctx, table); err != nil {
			return heat{}, err
		}
		view := "CREATE MATERIALIZED VIEW " + source + "_view TO waymark.events AS SELECT " + kafkaSelect + " FROM " + source
		if err := e.exec(ctx, view); err != nil {
			return heat{}, err
		}
	}
	if err := r.await(ctx, e); err != nil {
		return heat{}, err
	}
	return heat{elapsed: r.perMillion(time.Since(began))}, nil
}

// kafkaColumns are the fields of a wire.Event that an event on Kafka has, as
// ClickHouse reads them: as plain text, since it begins a column anew for each
// message, which costs more where the column has a dictionary.
var kafkaColumns = []string{
	"event String", "stage String", "time_ms UInt64", "program String", "campaign String",
	"channel String", "link UInt32", "code String", "domain String", "referrer_id String",
	"referrer_type String", "referee_type String", "node UInt16", "sequence UInt16", "reasons UInt32", "visitor_id UInt64",
	"click_time_ms UInt64", "click_node UInt16", "click_sequence UInt16", "id String", "user_id String", "order_id String", "value String",
	"currency String", "plan String", "properties Map(String, String)",
	"touches Nested(link UInt32, time_ms UInt64, channel String)",
	"country String", "region String", "city String", "network UInt32", "device String",
	"browser String", "os String", "language String", "referrer_host String",
	"utm_source String", "utm_medium String", "utm_campaign String", "utm_term String",
	"utm_content String", "address_hash UInt64", "ordinal UInt64",
}

// kafkaSelect makes the columns of events of them. The partition of an action
// is moved up: events needs both topics apart, and source does it for ingest.
const kafkaSelect = `event, stage, fromUnixTimestamp64Milli(toInt64(time_ms), 'UTC') AS time, program, campaign, channel, link, code, domain,
	referrer_id, referrer_type, referee_type, node, sequence, reasons, visitor_id,
	fromUnixTimestamp64Milli(toInt64(click_time_ms), 'UTC') AS click_time, click_node, click_sequence, id, user_id, order_id,
	toDecimal64OrZero(value, 6) AS value, currency, plan, properties,
	touches.link, arrayMap(ms -> fromUnixTimestamp64Milli(toInt64(ms), 'UTC'), touches.time_ms) AS ` + "`touches.time`" + `, touches.channel,
	country, region, city, network, device, browser, os, language, referrer_host, utm_source, utm_medium, utm_campaign, utm_term, utm_content,
	address_hash, toUInt32(cityHash64(_topic)) AS source, toUInt16(_partition) AS partition, _offset AS offset, toInt64(ordinal) - toInt64(_offset) AS ordinal_shift`
