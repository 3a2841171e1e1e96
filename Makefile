# Everything a newcomer, a developer and CI do. `make help` lists it.

GO         ?= go
BIN        := bin/waymark
VERSION    := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME   ?= 5s

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
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN) ./cmd/waymark

.PHONY: run
run: build ## Run everything on the embedded default, data in ./waymark-data
	$(BIN) up

.PHONY: library
library: ## Fetch the ClickHouse engine library into the cache (npm, checked by digest)
	@sh clickhouse/engine/fetch-library.sh

.PHONY: test
test: library ## Run every test, with the race detector where a C compiler exists
	$(RACE) $(GO) test $(RACEFLAG) -timeout 20m ./...

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

.PHONY: bench
bench: build ## CPU time per captured redirect beside bare fasthttp, in one run
	$(GO) run ./bench

# go test now and then reports its own end of time as a failure; one without a
# failing input is none.
.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (5s)
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$target"; \
	    output=$$($(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$pkg 2>&1) && continue; \
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
