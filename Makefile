# Jackdaw: what is done often. `make help` lists it.
#
#   PROFILE=dev make cluster     with the profile that the tests use, quicker to build

PROFILE ?= release
OUT := $(or $(CARGO_TARGET_DIR),target)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
JACKDAW := $(OUT)/jackdaw
CHAOS := $(OUT)/jackdaw-chaos

.DEFAULT_GOAL := help
.PHONY: help build run cluster stop cluster-clean demo test verify fix chaos chaos-long sim sim-mutants bench bench-kafka real-input

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

build: ## the broker
	@scripts/need.sh cargo cc
	cargo build --profile $(PROFILE) -p jackdaw --bin jackdaw

run: build ## one node on 127.0.0.1:9092 with its data in ./data
	$(JACKDAW) serve

cluster: build ## three nodes in target/cluster; starts whatever is not running
	@scripts/cluster.sh up $(JACKDAW)

stop: ## stop the three nodes, keep their data
	@scripts/cluster.sh stop

cluster-clean: ## stop the three nodes and remove their data
	@scripts/cluster.sh clean

.PHONY: chaos-build
chaos-build:
	@scripts/need.sh cargo cc c++ make
	cargo build --profile $(PROFILE) -p jackdaw-chaos --bin jackdaw-chaos

demo: build chaos-build ## kill -9 a leader under load and check that nothing is lost
	$(CHAOS) demo --bin $(JACKDAW)

SEED_ARGS := $(if $(SEED),--seed $(SEED))

chaos: build chaos-build ## every fault three times, in an order drawn from SEED=n; as root all of them
	$(CHAOS) all --bin $(JACKDAW) --rounds 3 --page target/chaos/report.html $(SEED_ARGS)

HOURS ?= 1

chaos-long: build chaos-build ## power cuts and kills of leaders for HOURS=n; needs root
	$(CHAOS) storm --bin $(JACKDAW) --hours $(HOURS) $(SEED_ARGS)

SEEDS ?= 100
# Optimised a little, and nothing else than the tests use: the dependencies are the same.
SIM_BUILD := CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo build --workspace --bin jackdaw-sim
SIM := $(or $(CARGO_TARGET_DIR),target)/debug/jackdaw-sim

sim: ## whole clusters, simulated: SEEDS=n of 50 s each, from FIRST=n on, or drawn anew
	@scripts/need.sh cargo cc c++ make
	$(SIM_BUILD)
	$(SIM) --seeds $(SEEDS) $(if $(FIRST),--first $(FIRST))

sim-mutants: ## every known bug has to be found by a simulation
	@scripts/need.sh cargo cc c++ make
	$(SIM_BUILD) --features jackdaw-sim/mutants
	$(SIM) --mutants

bench: ## what appends, syncs, reads and recovery cost; wants a machine of its own
	@scripts/need.sh cargo cc c++ make
	cargo bench --no-fail-fast --bench storage --bench broker --bench micro

ROUNDS ?= 3
KAFKA_JARS := $(or $(CARGO_TARGET_DIR),target)/kafka/libs

# Fetched anew when the version in the pom changes.
$(KAFKA_JARS)/.fetched: benches/kafka/pom.xml
	rm -rf $(KAFKA_JARS)
	mvn -q -f benches/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath $(KAFKA_JARS))
	touch $@

.PHONY: bench-kafka-needs
bench-kafka-needs:
	@scripts/need.sh cargo cc c++ make python3 java-17 mvn confluent-kafka

bench-kafka: bench-kafka-needs $(KAFKA_JARS)/.fetched build ## beside Apache Kafka: SCENARIO=a,c-10k ROUNDS=n ARGS="--write docs/benchmarks.md"
	cargo build --profile $(PROFILE) -p jackdaw-native-client
	benches/kafka/bench.py --jackdaw $(JACKDAW) --native $(OUT)/jackdaw-native-client --kafka $(KAFKA_JARS) \
		--rounds $(ROUNDS) $(if $(SCENARIO),--scenario $(SCENARIO)) $(ARGS)

real-input: cluster ## Debian's package index through kcat and confluent-kafka
	JACKDAW_BIN=$(JACKDAW) JACKDAW_BOOTSTRAP=127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094 \
		tests/real_input.sh

test: ## every test, with cargo's own output
	@scripts/need.sh cargo cc c++ make
	cargo test --workspace

verify: ## format, lints, documentation, tests; changes nothing
	@scripts/need.sh cargo cc c++ make
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	$(MAKE) --no-print-directory test

fix: ## format, and what clippy can mend
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all
