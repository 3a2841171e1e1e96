# Everything a newcomer, a developer and CI do. `make help` lists it.

GO         ?= go
BIN        := bin/waymark
VERSION    := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME   ?= 5s
PROFILE    := cmd/waymark/edge.pgo

# The race detector needs cgo, and cgo a C compiler. CI insists on it.
HAVE_CC := $(shell command -v $${CC:-cc} >/dev/null 2>&1 && echo yes)
ifneq ($(or $(HAVE_CC),$(CI)),)
RACE := CGO_ENABLED=1
RACEFLAG := -race
else
RACE := CGO_ENABLED=0
endif

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: library ## Build bin/waymark and fetch what the embedded default needs
	CGO_ENABLED=0 $(GO) build -trimpath -pgo $(PROFILE) -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN) ./cmd/waymark

# The profile is of an edge under the load of `make bench`. With it the median of
# seven rounds went from 11.7 to 11.1 µs a redirect, within their spread. It is not called default.pgo: with that go test
# would compile everything once more, too.
.PHONY: profile
profile: build ## Record anew what `make build` optimises for
	$(GO) run ./bench --profile $(PROFILE) --no-nginx --rounds 3 --requests 300000 --duration 6s --results bin

.PHONY: run
run: build ## Run everything on the embedded default, data in ./waymark-data
	$(BIN) up

.PHONY: library
library: ## Fetch the ClickHouse engine library into the cache (npm, checked by digest)
	@sh clickhouse/engine/fetch-library.sh

.PHONY: test
test: library ## Run every test, with the race detector where a C compiler exists
	$(RACE) $(GO) test $(RACEFLAG) -timeout 25m ./...

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

.PHONY: bench
bench: build ## What a redirect costs beside bare fasthttp and nginx, three minutes; results in bench/results
	$(GO) run ./bench

.PHONY: bench-faults
bench-faults: build ## Redirects while Kafka and ClickHouse are away, slow or back; results in bench/results
	$(GO) run ./bench faults

.PHONY: bench-hostile
bench-hostile: build ## Redirects under floods, slow clients and idle connections; results in bench/results
	$(GO) run ./bench hostile

# bin/waymark-chaos is the same program with a clock that can be put wrong.
# Variables: ROUNDS, MINUTES, SEED, FAULTS=name,…, REPLAY=seed,…, PAST=1 for the rounds
# that failed once, RATE, OUT=file.md; `go run ./loadtest/chaos --list` names the faults.
.PHONY: chaos
chaos: build ## Hurt Waymark in every way under load and count what is lost and doubled
	CGO_ENABLED=0 $(GO) build -trimpath -tags chaos -o bin/waymark-chaos ./cmd/waymark
	$(GO) run ./loadtest/chaos --clock-binary bin/waymark-chaos --rounds $(or $(ROUNDS),300) $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(REPLAY),--replay $(REPLAY)) $(if $(PAST),--past) \
	  $(if $(RATE),--rate $(RATE)) $(if $(OUT),--out $(OUT))

# EVENTS=100000000 is the size that the targets speak of.
.PHONY: bench-reports
bench-reports: build ## Every report beside the same question on raw events; EVENTS (10 million); results in bench/results
	$(GO) run ./bench reports --events $(or $(EVENTS),10000000)

.PHONY: bench-full
bench-full: build ## Ingest, freshness, storage, links and growth, half an hour and 12 GB of disk (EVENTS=10000000: less); results in bench/results
	$(GO) run ./bench ingest
	$(GO) run ./bench freshness
	$(GO) run ./bench storage
	$(GO) run ./bench links --sizes 100000,1000000,10000000
	$(GO) run ./bench growth --largest $(or $(EVENTS),100000000)

# A package is built once for all its targets, and only where it has some: go
# test -fuzz would build it for each. It now and then reports its own end of time
# as a failure; one without a failing input is none.
.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (5s)
	@binary=$$(mktemp) && trap 'rm -f "$$binary"' EXIT; cache=$$($(GO) env GOCACHE)/fuzz; \
	for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do \
	  package=$$($(GO) list $$dir) && $(GO) test -c -fuzz . -o "$$binary" $$dir || exit 1; \
	  for target in $$(cd $$dir && "$$binary" -test.list '^Fuzz'); do \
	    echo "$$package $$target"; \
	    output=$$(cd $$dir && "$$binary" -test.run '^$$' -test.fuzz "^$$target$$" -test.fuzztime $(FUZZTIME) -test.fuzzminimizetime 1x -test.fuzzcachedir "$$cache/$$package" 2>&1) && continue; \
	    echo "$$output"; \
	    case "$$output" in *"Failing input"*) exit 1;; *"context deadline exceeded"*) ;; *) exit 1;; esac; \
	  done; \
	done

.PHONY: proto
proto: ## Regenerate tracker/wire from its schema (needs protoc)
	@command -v protoc >/dev/null || { echo "make proto: protoc not found; install the package protobuf-compiler"; exit 1; }
	GOBIN=$(CURDIR)/bin $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
	GOBIN=$(CURDIR)/bin $(GO) install github.com/planetscale/vtprotobuf/cmd/protoc-gen-go-vtproto@v0.6.0
	PATH="$(CURDIR)/bin:$$PATH" protoc --go_out=. --go_opt=paths=source_relative \
	  --go-vtproto_out=. --go-vtproto_opt=paths=source_relative,features=marshal+unmarshal+unmarshal_unsafe+size \
	  tracker/wire/wire.proto

.PHONY: clean
clean: ## Remove what was built (not the data, not the cache)
	rm -rf bin

.PHONY: kafka
kafka: ## Run a real Apache Kafka on 127.0.0.1:9092 (KAFKA_LISTEN), fetched once; needs java and mvn
	@sh deploy/kafka/kafka.sh

# On a user's machine without Java or Maven these tests are skipped; CI must have both.
.PHONY: test-kafka
test-kafka: library ## Run the tests against a real Apache Kafka; needs java and mvn
	@sh deploy/kafka/kafka.sh fetch || { test $$? = 3 && test -z "$(CI)" && echo "The tests against a real Kafka are skipped." && exit 0; exit 1; }; \
	 WAYMARK_TEST_KAFKA=1 $(RACE) $(GO) test $(RACEFLAG) -p 1 -count 1 -timeout 10m -run '^TestRealKafka' ./pipeline ./cmd/waymark
