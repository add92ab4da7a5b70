# Tidegate's build. `make help` lists what there is to make.
#
# One build directory for each flavour: build/ (release), build/asan, build/ubsan, build/tsan.
# Sanitizer flavours leave jemalloc out. Generated protobuf code goes to build/gen.

CC       ?= gcc
FLAVOUR  ?= release
BUILD    := $(if $(filter release,$(FLAVOUR)),build,build/$(FLAVOUR))
GEN      := build/gen
VERSION  := $(shell cat VERSION)

.DEFAULT_GOAL := help
.PHONY: help deps all demo check unit integration kills crash asan ubsan tsan fuzz fuzz-replay \
        fuzz-seeds bench-peers bench-against \
        bench-expiry lint format install clean

# V=1 shows the commands.
Q = $(if $(V),,@)
say = @$(if $(V),:,printf '  %-4s %s\n')

# --- flags ---------------------------------------------------------------------------------------

# Why each is in, and which others are out: docs/analysis.md.
WARN     := -Wall -Wextra -Wconversion -Wshadow -Werror -Wformat=2 -Wformat-signedness \
	-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wredundant-decls -Wundef -Wvla \
	-Wdouble-promotion -Wpointer-arith -Wwrite-strings -Wcast-align=strict -Wduplicated-cond \
	-Wduplicated-branches -Wlogical-op -Wunused-macros
# Generated and library headers are not ours to warn about: -isystem.
CPPFLAGS += -D_GNU_SOURCE -DTG_VERSION='"$(VERSION)"' -I. -isystem $(GEN)
BASE_CFLAGS := -std=gnu11 -g -fno-omit-frame-pointer -MMD -MP
# Asked for by name: what LTO still calls is not known when the linker looks which libraries are needed.
LDLIBS_MALLOC := -Wl,--push-state,--no-as-needed -ljemalloc -Wl,--pop-state
FLAVOUR_CFLAGS := -O2

ifeq ($(FLAVOUR),asan)
FLAVOUR_CFLAGS := -O1 -fsanitize=address
LDLIBS_MALLOC :=
endif
ifeq ($(FLAVOUR),ubsan)
# Instrumented loops look endless to this warning.
WARN += -Wno-format-truncation
FLAVOUR_CFLAGS := -O1 -fsanitize=undefined -fno-sanitize-recover=all
LDLIBS_MALLOC :=
endif
ifeq ($(FLAVOUR),tsan)
FLAVOUR_CFLAGS := -O1 -fsanitize=thread
LDLIBS_MALLOC :=
endif
ifeq ($(FLAVOUR),fuzz)
# libFuzzer is clang's. Its warnings are not gcc's: they are shown, and do not fail the build.
CC := clang
WARN := $(filter-out -Werror -Wcast-align=strict -Wduplicated-% -Wlogical-op -Wformat-signedness -Wdouble-promotion,$(WARN))
FLAVOUR_CFLAGS := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LDLIBS_MALLOC :=
endif

ifeq ($(FLAVOUR),memcheck)
# For valgrind: `make memcheck`. The waits of a ring are made ones that it can follow.
FLAVOUR_CFLAGS := -O1
LDLIBS_MALLOC :=
LDFLAGS += -Wl,--wrap=io_uring_submit_and_wait_timeout -Wl,--wrap=io_uring_submit_and_get_events
endif

CFLAGS_ALL = $(BASE_CFLAGS) $(FLAVOUR_CFLAGS) $(CFLAGS)
LDFLAGS_ALL = $(FLAVOUR_CFLAGS) $(LDFLAGS) -pthread

# The daemon that is released is optimised across its files: an order passes through all of its rooms
# (docs/decisions/0010). Its objects are good for a plain link as well, which tests take: it is quick.
DAEMON_ROOMS := server net tls engine storage proto base
ifeq ($(FLAVOUR),release)
LTO_COMPILE := -flto -ffat-lto-objects
LTO_LINK    := -flto=auto
LTO_NO_LINK := -fno-lto
endif

# --- what is built from what ---------------------------------------------------------------------

ROOMS    := base proto tls engine storage net client server loadgen ctl
# A program's main is the file named after it; everything else of a room is in its library.
MAINS    := server/tidegated.c loadgen/tidegate_load.c ctl/tidegatectl.c
sources   = $(filter-out $(MAINS),$(wildcard $(1)/*.c))
objects   = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
library   = $(BUILD)/lib/lib$(1).a

PB       := $(BUILD)/obj/gen/tidegate.pb-c.o
PB_H     := $(GEN)/tidegate/v1/tidegate.pb-c.h
BINARIES := $(BUILD)/tidegated $(BUILD)/tidegate-load $(BUILD)/tidegatectl
LIBS     := $(foreach room,$(ROOMS),$(call library,$(room)))

LDLIBS_TLS    := -lssl -lcrypto
LDLIBS_DAEMON := -lmicrohttpd -lgnutls -luring -lnghttp2 $(LDLIBS_TLS) -llmdb -lprotobuf-c -lxxhash -linih $(LDLIBS_MALLOC)
LDLIBS_LOAD   := -luring $(LDLIBS_TLS) -lprotobuf-c -lxxhash -linih -ljansson -lm $(LDLIBS_MALLOC)
LDLIBS_CTL    := $(LDLIBS_TLS) -llmdb -lprotobuf-c -lxxhash -ljansson $(LDLIBS_MALLOC)
LDLIBS_TEST   := -lcriterion -luring -lnghttp2 $(LDLIBS_TLS) -llmdb -lprotobuf-c -lxxhash -linih -ljansson -lm

all: $(BINARIES) ## build the three programs

$(PB_H) $(GEN)/tidegate/v1/tidegate.pb-c.c &: proto/tidegate/v1/tidegate.proto
	@mkdir -p $(GEN)
	$(say) GEN $@
	$(Q)protoc-c --proto_path=proto --c_out=$(GEN) $<

# What the gRPC listener tells of itself: net/descriptors.h.
PROTOS       := tidegate/v1/tidegate.proto tidegate/v1/service.proto
GRPC_PROTOS  := /usr/share/grpc-proto
GRPC_OWN     := $(addprefix $(GRPC_PROTOS)/grpc/,health/v1/health.proto reflection/v1/reflection.proto \
	reflection/v1alpha/reflection.proto)
DESCRIPTORS  := $(GEN)/descriptors
$(DESCRIPTORS).c: $(PROTOS:%=proto/%) | $(PB_H)
	$(say) GEN $@
	$(Q)protoc --proto_path=proto --proto_path=$(GRPC_PROTOS) --descriptor_set_out=$(DESCRIPTORS).bin \
		$(PROTOS) $(GRPC_OWN)
	$(Q){ echo '#include "net/descriptors.h"'; echo 'const uint8_t net_descriptors[] = {'; \
		od -An -v -tx1 $(DESCRIPTORS).bin | sed 's/ \(..\)/0x\1,/g'; \
		echo '};'; echo 'const size_t net_descriptors_bytes = sizeof(net_descriptors);'; } >$@

$(BUILD)/obj/gen/descriptors.o: $(DESCRIPTORS).c
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -w -c -o $@ $<
$(call library,net): $(BUILD)/obj/gen/descriptors.o

$(PB): $(GEN)/tidegate/v1/tidegate.pb-c.c
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -w -c -o $@ $<

$(BUILD)/obj/%.o: %.c | $(PB_H)
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(WARN) -c -o $@ $<

# The live page goes into the daemon, so that it needs no file at run time: its own files, and the
# charts of Debian's libjs-chart.js.
WEB    := $(sort $(shell find server/web -type f)) /usr/share/javascript/chart.js/chart.min.js
ASSETS := $(BUILD)/obj/gen/assets.o

$(GEN)/assets.c: $(WEB) scripts/embed.sh
	@mkdir -p $(@D)
	$(say) GEN $@
	$(Q)scripts/embed.sh $(WEB) >$@.new && mv $@.new $@

$(ASSETS): $(GEN)/assets.c server/assets.h
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CPPFLAGS) $(BASE_CFLAGS) $(WARN) -c -o $@ $<

define room_library
$(call library,$(1)): $(call objects,$(call sources,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(say) AR $$@
	$$(Q)ar rcs $$@ $$^
endef
$(foreach room,$(ROOMS),$(eval $(call room_library,$(room))))

# In the link of the daemon LTO is asked for, in all others it is switched off.
link = $(CC) $(LDFLAGS_ALL) $(or $(LTO),$(LTO_NO_LINK)) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group

$(foreach room,$(DAEMON_ROOMS),$(BUILD)/obj/$(room)/%.o): CFLAGS_ALL += $(LTO_COMPILE)
$(BUILD)/tidegated: LTO = $(LTO_LINK)
$(BUILD)/tidegated: $(BUILD)/obj/server/tidegated.o $(foreach r,$(DAEMON_ROOMS),$(call library,$(r))) $(PB) $(ASSETS)
	$(say) LD $@
	$(Q)$(link) $(LDLIBS_DAEMON)
$(BUILD)/tidegate-load: $(BUILD)/obj/loadgen/tidegate_load.o $(foreach r,loadgen client tls proto base,$(call library,$(r))) $(PB)
	$(say) LD $@
	$(Q)$(link) $(LDLIBS_LOAD)
$(BUILD)/tidegatectl: $(BUILD)/obj/ctl/tidegatectl.o $(foreach r,ctl client tls storage proto base,$(call library,$(r))) $(PB)
	$(say) LD $@
	$(Q)$(link) $(LDLIBS_CTL)

# --- tests ---------------------------------------------------------------------------------------

# Tests know where the binaries of their flavour are.
$(BUILD)/obj/tests/%.o: CPPFLAGS += -DTG_BUILD='"$(BUILD)"'

tests_of  = $(patsubst tests/$(1)/%.c,$(BUILD)/tests/$(1)/%,$(wildcard tests/$(1)/test_*.c))
UNIT_TESTS        := $(call tests_of,unit)
INTEGRATION_TESTS := $(call tests_of,integration)
TESTLIB           := $(BUILD)/lib/libtests.a
FAULT_SO          := $(BUILD)/tests/fault.so

# An archive, so that a test links only the helpers that it uses.
$(TESTLIB): $(call objects,$(filter-out tests/lib/fault.c,$(wildcard tests/lib/*.c)))
	@mkdir -p $(@D)
	@rm -f $@
	$(say) AR $@
	$(Q)ar rcs $@ $^

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(TESTLIB) $(LIBS) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(LDLIBS_TEST)

# Preloaded into a daemon to make its system calls fail on demand.
$(FAULT_SO): tests/lib/fault.c
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(CC) $(CPPFLAGS) $(BASE_CFLAGS) -O2 $(WARN) -shared -fPIC -o $@ $< -ldl

# What must be there before anything can be built; then the goal in $(1), with all cores.
prepared = scripts/deps.sh $(1) && $(MAKE) --no-print-directory -j$(shell nproc) $(2)

deps: ## install what is missing to build and test (apt, with sudo when not root)
	@scripts/deps.sh build test

demo: ## play a seckill of 10,000 units with a crash in the middle, and prove it
	@$(call prepared,build,all)
	@scripts/demo.sh $(BUILD)

check: ## build, then run the unit and the integration tests, and the fuzz targets over their files
	@$(call prepared,build test,tests $(FUZZ_REPLAYS))
	@tests/fuzz/replay.sh $(BUILD) $(FUZZ_TARGETS)
	@bench/test.sh
	@scripts/run_tests.sh 300 $(UNIT_TESTS) $(INTEGRATION_TESTS)

.PHONY: tests
tests: $(BINARIES) $(UNIT_TESTS) $(INTEGRATION_TESTS) $(FAULT_SO)

unit: ## the unit tests alone
	@$(call prepared,build test,$(UNIT_TESTS))
	@scripts/run_tests.sh 120 $(UNIT_TESTS)

integration: ## the integration tests alone: real sockets, a real LMDB
	@$(call prepared,build test,$(BINARIES) $(INTEGRATION_TESTS) $(FAULT_SO))
	@scripts/run_tests.sh 300 $(INTEGRATION_TESTS)

.PHONY: interop
interop: ## gRPC by clients that others wrote (npm, Debian), against a daemon: FAST=1 leaves the longest out
	@$(call prepared,build interop,$(BUILD)/tidegated)
	@cd tests/interop && npm ci --silent --ignore-scripts --no-audit --no-fund
	@tests/interop/run.sh $(BUILD) $(if $(FAST),fast)

KILLS_RUN  := $(BUILD)/tests/kills/kills
KILLS_ARGS  = $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED)) $(if $(ORDERS),--orders $(ORDERS))

kills: ## SIGKILLs under load, in recovery, in drains: KILLS=500 for the long tier, SEED=, ORDERS=
	@$(call prepared,build test,all $(KILLS_RUN))
	@$(KILLS_RUN) $(KILLS_ARGS)

$(KILLS_RUN): $(call objects,$(wildcard tests/kills/*.c)) $(TESTLIB) $(foreach r,client tls proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(filter-out -lcriterion,$(LDLIBS_TEST))

ABUSE_RUN  := $(BUILD)/tests/abuse/abuse
ABUSE_ARGS  = $(if $(ABUSE),--only $(ABUSE)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(STRICT),--strict)

.PHONY: abuse
abuse: ## abusers beside honest clients: ABUSE=name for one, SECONDS= of each, SEED=, STRICT=1
	@$(call prepared,build,all $(ABUSE_RUN))
	@mkdir -p $(BUILD)/abuse
	@$(ABUSE_RUN) --json $(BUILD)/abuse/abuse.json $(ABUSE_ARGS)

$(ABUSE_RUN): $(call objects,$(wildcard tests/abuse/*.c)) $(TESTLIB) $(foreach r,client tls proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(filter-out -lcriterion,$(LDLIBS_TEST))

SOAK      := $(BUILD)/tests/soak/soak
SOAK_ARGS  = $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

.PHONY: soak
soak: ## half an hour of mixed load, looked at every second: SECONDS=1800 (60 to try), SEED=
	@$(call prepared,build test,all $(SOAK))
	@$(SOAK) $(SOAK_ARGS)

$(SOAK): $(call objects,$(wildcard tests/soak/*.c)) $(TESTLIB) $(foreach r,client tls proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(filter-out -lcriterion,$(LDLIBS_TEST))

# LeakSanitizer does not fail a Criterion test by itself: any report file does.
sanitized = rm -rf $(1) && mkdir -p $(1) && \
	$(2)_OPTIONS=log_path=$(CURDIR)/$(1)/report:detect_leaks=1:exitcode=99 \
	$(MAKE) --no-print-directory FLAVOUR=$(3) check check-tools && \
	if ls $(1)/report* >/dev/null 2>&1; then cat $(1)/report*; exit 1; fi

# The long tools, short: ten seconds of the simulator and 500 power cuts, each with one seed.
.PHONY: check-tools
check-tools:
	@$(call prepared,build test,$(BUILD)/tidegated $(SIM) $(CRASH) $(RECORD))
	@$(SIM) --seed 1 --seconds 10
	@$(CRASH) --images 500 --seed 1

asan: ## all of check, of the simulator and power cuts a little, under AddressSanitizer and LeakSanitizer
	@$(call sanitized,build/asan/reports,ASAN,asan)

ubsan: ## the same under UndefinedBehaviorSanitizer
	@$(call sanitized,build/ubsan/reports,UBSAN,ubsan)

tsan: ## threads under ThreadSanitizer: the stress program, then the daemon under load
	@scripts/deps.sh build test
	@$(MAKE) --no-print-directory -j$(shell nproc) all
	@$(MAKE) --no-print-directory -j$(shell nproc) FLAVOUR=tsan build/tsan/tests/stress/stress build/tsan/tidegated
	@TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 build/tsan/tests/stress/stress
	@echo 'daemon: 3 cores, five stories, two readers of the outbox'
	@scripts/tsan_daemon.sh build/tsan $(BUILD)

$(BUILD)/tests/stress/stress: $(call objects,$(wildcard tests/stress/*.c)) $(foreach r,storage engine proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(filter-out -lcriterion,$(LDLIBS_TEST))

# Valgrind is slow: of the unit tests those of the engine, of storage and of the wire.
MEMCHECK_UNITS := cart catalog change codec commit groups holdings ingest input life locks read recover \
	requests rows shard storage take team verdict verify wheel
MEMCHECK_TESTS := $(MEMCHECK_UNITS:%=$(BUILD)/tests/unit/test_%) $(INTEGRATION_TESTS)

memcheck: ## unit tests, and the daemons of the integration tests, under valgrind
	@scripts/deps.sh build test memcheck
	@$(MAKE) --no-print-directory -j$(shell nproc) FLAVOUR=memcheck memcheck-built
	@$(MAKE) --no-print-directory FLAVOUR=memcheck memcheck-run

.PHONY: memcheck memcheck-built memcheck-run
memcheck-built: $(BINARIES) $(MEMCHECK_TESTS) $(FAULT_SO)
memcheck-run:
	@tests/memcheck/run.sh $(BUILD)/reports $(MEMCHECK_UNITS:%=$(BUILD)/tests/unit/test_%) -- $(INTEGRATION_TESTS)

ifeq ($(FLAVOUR),memcheck)
$(BUILD)/tidegated $(BUILD)/tidegate-load $(MEMCHECK_TESTS): $(BUILD)/obj/tests/memcheck/ring.o
endif

# The recorder is preloaded into a daemon; the driver looks at what is left after a power cut.
CRASH      := $(BUILD)/tests/crash/crash
RECORD     := $(BUILD)/tests/record.so
CRASH_ARGS  = $(if $(IMAGES),--images $(IMAGES)) $(if $(SEED),--seed $(SEED))

crash: ## power cuts at every moment of a recorded load, and the recovery of each: IMAGES=, SEED=
	@$(call prepared,build test,$(BUILD)/tidegated $(CRASH) $(RECORD))
	@mkdir -p $(BUILD)/crash
	@$(CRASH) --json $(BUILD)/crash/crash.json $(CRASH_ARGS)

$(CRASH): $(call objects,$(filter-out tests/crash/record.c,$(wildcard tests/crash/*.c))) $(TESTLIB) $(foreach r,client tls storage proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(filter-out -lcriterion,$(LDLIBS_TEST))

$(RECORD): tests/crash/record.c tests/crash/log.h
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(CC) $(CPPFLAGS) $(BASE_CFLAGS) -O2 $(WARN) -shared -fPIC -o $@ $< -ldl

# Failing calls: the injector is preloaded into a daemon; the driver makes one call fail in each run.
FAULTS      := $(BUILD)/tests/faults/faults
INJECTOR    := $(BUILD)/tests/faults.so
FAULTS_ARGS  = $(if $(FAULT),--fault $(FAULT)) $(if $(N),--n $(N)) $(if $(SEED),--seed $(SEED)) \
	$(if $(PER_SITE),--per-site $(PER_SITE)) $(if $(WORKERS),--workers $(WORKERS))

.PHONY: faults
faults: ## every system call, allocation and io_uring operation fails: FAULT=, N=, PER_SITE=, SEED=
	@$(call prepared,build test,$(BUILD)/tidegated $(FAULTS) $(INJECTOR))
	@$(FAULTS) $(FAULTS_ARGS)

$(FAULTS): $(call objects,$(filter-out tests/faults/inject%.c,$(wildcard tests/faults/*.c))) $(TESTLIB) $(foreach r,client tls storage proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(filter-out -lcriterion,$(LDLIBS_TEST))

# Without builtins, or the compiler makes a call of itself out of the functions that it defines.
$(INJECTOR): tests/faults/inject.c tests/faults/inject_ring.c tests/faults/inject.h tests/faults/plan.h
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(CC) $(CPPFLAGS) $(if $(filter asan,$(FLAVOUR)),-DINJECT_WITHOUT_ALLOC) $(BASE_CFLAGS) -O2 \
		-fno-builtin $(WARN) -shared -fPIC -o $@ $(filter %.c,$^) -ldl

# A daemon makes the database; the driver damages copies of it. Kept when something was found.
BITROT      := $(BUILD)/tests/bitrot/bitrot
BITROT_ARGS  = $(if $(FLIPS),--flips $(FLIPS)) $(if $(SEED),--seed $(SEED))

.PHONY: bitrot
bitrot: ## turned bits, torn sectors, swapped pages: start and verify must miss each: FLIPS=, SEED=
	@$(call prepared,build test,$(BINARIES) $(BITROT))
	@dir=$$(mktemp -d /dev/shm/tidegate-bitrot-XXXXXX) && \
		tests/bitrot/database.sh $(BUILD) $$dir $(SEED) && \
		$(BITROT) --database $$dir $(BITROT_ARGS) && rm -rf $$dir

$(BITROT): $(call objects,$(wildcard tests/bitrot/*.c)) $(foreach r,storage proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(filter-out -lcriterion,$(LDLIBS_TEST))

# The live page in a browser (docs/live-page.md). axe-core, which looks for what keeps people out, is of
# the version and checksum in the lock file.
AXE := build/page/npm/node_modules/axe-core/axe.min.js

.PHONY: page
page: ## the live page in headless Chromium, before a daemon that sells: PAGE=name for one test
	@$(call prepared,build page,all $(AXE))
	@tests/page/test_page.py $(BUILD) $(AXE) $(PAGE)

$(AXE): tests/page/package-lock.json tests/page/package.json
	@mkdir -p build/page/npm
	$(say) NPM axe-core
	$(Q)cp $^ build/page/npm/
	$(Q)npm ci --prefix build/page/npm --ignore-scripts --no-audit --no-fund --silent
	$(Q)touch $@

# --- fuzzing: docs/fuzzing.md --------------------------------------------------------------------

FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_LIB     := $(BUILD)/lib/libfuzz.a
FUZZ_REPLAYS := $(FUZZ_TARGETS:%=$(BUILD)/tests/fuzz/replay_%)
FUZZ_SECONDS ?= 20

# What the targets take from tests/ speaks Criterion's words: here they abort.
$(BUILD)/obj/tests/fuzz/%.o: CPPFLAGS := -isystem tests/fuzz/stub $(CPPFLAGS)

$(FUZZ_LIB): $(call objects,tests/fuzz/fuzz.c $(wildcard tests/fuzz/lib_*.c))
	@mkdir -p $(@D)
	@rm -f $@
	$(say) AR $@
	$(Q)ar rcs $@ $^

# Under libFuzzer; only with FLAVOUR=fuzz.
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(FUZZ_LIB) $(LIBS) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) -fsanitize=fuzzer $(filter-out -lcriterion,$(LDLIBS_TEST))

# Over files; with any flavour.
$(BUILD)/tests/fuzz/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o $(FUZZ_LIB) $(LIBS) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(filter-out -lcriterion,$(LDLIBS_TEST))

$(BUILD)/tests/fuzz/seeds: $(BUILD)/obj/tests/fuzz/seeds.o $(FUZZ_LIB) $(LIBS) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(filter-out -lcriterion,$(LDLIBS_TEST))

fuzz: ## libFuzzer over what comes from outside: FUZZ_SECONDS=20 for all targets, CORPUS=dir to keep
	@$(call prepared,build fuzz,FLAVOUR=fuzz BUILD=build/fuzz $(FUZZ_TARGETS:%=build/fuzz/fuzz/%))
	@tests/fuzz/run.sh build/fuzz $(FUZZ_SECONDS) '$(CORPUS)' $(FUZZ_TARGETS)

fuzz-replay: ## the fuzz targets over their seeds and regressions, without libFuzzer
	@$(call prepared,build,$(FUZZ_REPLAYS))
	@tests/fuzz/replay.sh $(BUILD) $(FUZZ_TARGETS)

fuzz-seeds: ## write tests/fuzz/corpus anew
	@$(call prepared,build,$(BUILD)/tests/fuzz/seeds)
	@$(BUILD)/tests/fuzz/seeds tests/fuzz/corpus

SIM     := $(BUILD)/tests/sim/sim
PLANTED := build/planted/tests/sim/sim

.PHONY: sim
sim: ## years of faults against a model (SEED=, SECONDS=, OPS=), then planted faults (FAULT=)
	@$(call prepared,build,$(SIM))
	@$(SIM) $(if $(SEED),--seed $(SEED)) $(if $(OPS),--ops $(OPS)) --seconds $(or $(SECONDS),20)
	@$(MAKE) --no-print-directory -j$(shell nproc) BUILD=build/planted \
		CFLAGS=-DTG_PLANTED_FAULT $(PLANTED)
	@$(PLANTED) --fault $(or $(FAULT),all) $(if $(SEED),--seed $(SEED))

$(BUILD)/tests/sim/sim: $(call objects,$(wildcard tests/sim/*.c)) $(foreach r,storage engine proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(filter-out -lcriterion,$(LDLIBS_TEST))

# --- figures -------------------------------------------------------------------------------------

# The limits of the machine, counted loops, and what counts them: docs/benchmarks.md.
BENCH_LIMITS := $(BUILD)/bench/echo $(BUILD)/bench/append $(BUILD)/bench/sync $(BUILD)/bench/warm
BENCH_MICRO  := $(BUILD)/bench/micro
NOWAIT_SO    := $(BUILD)/bench/nowait.so
BENCH_ARGS    = $(foreach v,ROUNDS SECONDS_EACH QUICK ONLY GROWN_ORDERS STALL_SECONDS MEMORY_ORDERS GROWTH DIR,$(if $($(v)),$(v)='$($(v))'))

.PHONY: bench bench-micro
bench: ## limits, Tidegate and peers in one run: QUICK=1, ROUNDS=, SECONDS_EACH=, ONLY=, GROWN_ORDERS=
	@$(call prepared,build bench peers,all $(BENCH_LIMITS) $(BENCH_MICRO) $(NOWAIT_SO))
	@$(BENCH_ARGS) bench/run.sh $(BUILD)

bench-peers: ## Tidegate beside Redis and PostgreSQL, on ports of their own (installs them)
	@$(call prepared,build bench peers,all $(BUILD)/bench/warm)
	@$(BENCH_ARGS) OUT=$(BUILD)/bench/peers.json bench/run.sh $(BUILD) peers

bench-micro: ## instructions per order, counted; exit 3 when one grew by 3%: BASELINE=write, ONLY=
	@$(call prepared,build bench,all $(BENCH_MICRO) $(NOWAIT_SO))
	@$(if $(BASELINE),BASELINE='$(BASELINE)') $(if $(ONLY),ONLY='$(ONLY)') bench/micro/run.sh $(BUILD)

$(BUILD)/bench/echo: $(call objects,bench/limits/echo.c bench/limits/limits.c) $(foreach r,proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) -luring -lprotobuf-c -lxxhash
$(BUILD)/bench/append $(BUILD)/bench/sync $(BUILD)/bench/warm: $(BUILD)/bench/%: $(BUILD)/obj/bench/limits/%.o $(BUILD)/obj/bench/limits/limits.o $(foreach r,storage proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) -llmdb -lprotobuf-c -lxxhash
$(BENCH_MICRO): $(call objects,$(wildcard bench/micro/*.c)) $(foreach r,engine storage proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) -llmdb -lprotobuf-c -lxxhash

BENCH_FLOOD := $(BUILD)/bench/flood
.PHONY: bench-grpc
bench-grpc: ## orders per second over gRPC, 64 connections x 32 streams: SECONDS=, PERF=file
	@$(call prepared,build,all $(BENCH_FLOOD))
	@$(if $(PERF),PERF='$(PERF)') bench/grpc/run.sh $(BUILD) $(SECONDS)

$(BENCH_FLOOD): $(call objects,bench/grpc/flood.c) $(foreach r,net proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) -luring -lnghttp2 $(LDLIBS_TLS) -lprotobuf-c -lxxhash $(LDLIBS_MALLOC)

# Preloaded into a daemon under valgrind.
$(NOWAIT_SO): bench/micro/preload/nowait.c tests/memcheck/wait.h
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(CC) $(CPPFLAGS) $(BASE_CFLAGS) -O2 $(WARN) -shared -fPIC -o $@ $< -luring

bench-against: ## this tree and an earlier commit side by side: make bench-against REVISION=...
	@$(if $(REVISION),,echo "make bench-against REVISION=<commit>" >&2; exit 2;) \
		scripts/deps.sh build && $(MAKE) --no-print-directory -j$(shell nproc) all
	@bench/against.sh $(BUILD) $(REVISION)

bench-expiry: ## a million reservations that expire within a second, and what orders notice of it
	@scripts/deps.sh build && $(MAKE) --no-print-directory -j$(shell nproc) all
	@bench/expiry.sh $(BUILD)

# --- the rest ------------------------------------------------------------------------------------

C_FILES = $(shell git ls-files '*.c' '*.h')

# NULL is a pointer in C, so it may end a list of arguments; and cppcheck 2.10 cannot read the address
# of a structure that is written where it is used.
CPPCHECK := cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr -I. -I$(GEN) \
	--suppress=missingIncludeSystem --suppress=varFuncNullUB \
	--suppress=internalAstError:storage/pages_tree.c -U__clang_analyzer__ -UTG_ANALYZER
# gcc 12's analyzer, told what tg_fault_set returns (base/error.h). What it says of a file and is
# wrong about is left out for that file alone.
ANALYZER := -fanalyzer -DTG_ANALYZER
# A buffer that grows is kept by its client; it is lost sight of behind realloc.
build/analyze/client/client.ok: ANALYZER += -Wno-analyzer-malloc-leak
# The radix sort's two tables change places: the one that is read was written by the pass before. And
# a list has no run without answers in it.
build/analyze/loadgen/accepted.ok: ANALYZER += -Wno-analyzer-use-of-uninitialized-value \
	-Wno-analyzer-null-argument

lint: ## formatting and cppcheck
	@scripts/deps.sh build lint && $(MAKE) --no-print-directory $(PB_H)
	@clang-format --dry-run --Werror $(C_FILES)
	@$(CPPCHECK) --enable=warning,portability $(ROOMS)

# The programs of the quick starts, each against a daemon of its own; what they print is what pages show.
.PHONY: examples
examples: ## run the examples of the quick starts, and compare what they print with the pages
	@$(call prepared,build test examples,all)
	@scripts/examples.sh $(BUILD)

# The pages: docs/reference.md against the contract, links and anchors, what is shown of files against
# the files, the Chinese README against the English one.
.PHONY: reference check-docs
reference: ## write docs/reference.md, out of the comments in proto/tidegate/v1
	@scripts/deps.sh docs
	@scripts/reference.py

check-docs: ## are the pages in step with the contract, the files, and with each other?
	@scripts/deps.sh docs
	@scripts/reference.py --check
	@scripts/links.py
	@scripts/snippets.py
	@scripts/translation.py
	@for alert in $$(sed -n 's/^ *- alert: //p' docs/operations/alerts.yml); do grep -q "^| .*\`$$alert\`" docs/on-call.md || \
		{ echo "docs/on-call.md has no line for $$alert of docs/operations/alerts.yml" >&2; exit 1; }; done

# What is compiled, new files too. A stamp for each file that passed, so that only those that changed
# since are looked at again; `make -k`, so that one finding does not hide the others.
ANALYZED     := $(wildcard $(ROOMS:%=%/*.c) tests/*/*.c)
each_of       = $(MAKE) --no-print-directory -k -j$(shell nproc) $(1)

# How far the analyzer follows the paths of a function, a third of its default: what lies behind costs
# twice the time and found nothing.
TIDY_DEPTH := -Xclang -analyzer-config -Xclang max-nodes=75000

tidy: ## clang-tidy with the checks of .clang-tidy over what changed since it last passed
	@scripts/deps.sh build test lint && $(MAKE) --no-print-directory $(PB_H)
	@$(call each_of,tidied)

tidied: $(ANALYZED:%.c=build/tidy/%.ok)
	@:

build/tidy/%.ok: CPPFLAGS += -DTG_BUILD='"$(BUILD)"'
build/tidy/tests/fuzz/%.ok: CPPFLAGS := -isystem tests/fuzz/stub $(CPPFLAGS)
build/tidy/%.ok: %.c .clang-tidy tests/.clang-tidy | $(PB_H)
	@mkdir -p $(@D)
	$(say) TIDY $<
	$(Q)clang-tidy --quiet $< -- -std=gnu11 $(CPPFLAGS) $(TIDY_DEPTH) 2>/dev/null
	$(Q)$(CC) -std=gnu11 $(CPPFLAGS) -MM -MP -MT $@ -MF $(@:.ok=.d) $< && touch $@

analyze: ## gcc -fanalyzer over the rooms, cppcheck over the rooms and the tests
	@scripts/deps.sh build test lint && $(MAKE) --no-print-directory $(PB_H)
	@$(call each_of,analyzed)

analyzed: $(patsubst %.c,build/analyze/%.ok,$(filter-out tests/%,$(ANALYZED))) build/analyze/cppcheck
	@:

# What is assigned with its structure is kept there.
build/analyze/loadgen/samples.ok: ANALYZER += -Wno-analyzer-malloc-leak
# A command's memory and files go with its program.
build/analyze/ctl/ingest.ok build/analyze/ctl/sale.ok: ANALYZER += -Wno-analyzer-malloc-leak -Wno-analyzer-file-leak
build/analyze/ctl/salefile.ok: ANALYZER += -Wno-analyzer-malloc-leak
# A connection is kept by its layer, a message by its call.
build/analyze/net/grpc.ok build/analyze/net/grpc_call.ok: ANALYZER += -Wno-analyzer-malloc-leak

build/analyze/%.ok: %.c | $(PB_H)
	@mkdir -p $(@D)
	$(say) ANALYZE $<
	$(Q)$(CC) $(CPPFLAGS) -std=gnu11 -O1 $(ANALYZER) -Werror -MMD -MP -MT $@ -MF $(@:.ok=.d) -c -o /dev/null $<
	$(Q)touch $@

.PHONY: tidy tidied analyze analyzed build/analyze/cppcheck
build/analyze/cppcheck:
	$(say) CPPCHECK 'rooms and tests'
	$(Q)$(CPPCHECK) -Itests/fuzz/stub --enable=warning,performance,portability $(ROOMS) tests

format: ## clang-format over the tree
	@clang-format -i $(C_FILES)

.PHONY: check-monitoring
check-monitoring: ## metrics, alert rules and dashboard of docs/operations against a running daemon
	@$(call prepared,build test monitoring,all)
	@tests/monitoring/run.sh $(BUILD)

# Where `install` puts what: DESTDIR comes before all of them.
PREFIX      ?= /usr/local
LIBDIR      ?= $(PREFIX)/lib
MANDIR      ?= $(PREFIX)/share/man
DOCDIR      ?= $(PREFIX)/share/doc/tidegate
UNITDIR     ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
COMPLETIONS ?= $(PREFIX)/share/bash-completion/completions
# The client library as others link it: with what it stands on, in one archive.
$(BUILD)/lib/libtidegate.a: $(foreach room,client tls proto base,$(call objects,$(call sources,$(room)))) $(PB)
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

MANUAL := $(addprefix $(BUILD)/man/,tidegated.8 tidegatectl.1 tidegate-load.1 tidegate.conf.5)

.PHONY: manual deb check-packaging
manual: $(MANUAL) ## write the manual pages, out of the programs' --help and the table of keys
$(MANUAL) &: $(BINARIES) $(wildcard packaging/man/*) VERSION
	$(say) MAN $(BUILD)/man
	$(Q)packaging/man/generate.sh $(BUILD) $(BUILD)/man $(VERSION)

install: all manual $(BUILD)/lib/libtidegate.a ## install programs, client library, contract, manual and service under PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBDIR) $(DESTDIR)$(PREFIX)/share/tidegate
	install $(BINARIES) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(BUILD)/lib/libtidegate.a $(DESTDIR)$(LIBDIR)
	install -d $(DESTDIR)$(PREFIX)/include/tidegate/tidegate/v1
	for room in base proto client; do install -d $(DESTDIR)$(PREFIX)/include/tidegate/$$room && \
		install -m 644 $$room/*.h $(DESTDIR)$(PREFIX)/include/tidegate/$$room; done
	install -m 644 $(PB_H) $(DESTDIR)$(PREFIX)/include/tidegate/tidegate/v1
	cp -r proto/tidegate $(DESTDIR)$(PREFIX)/share/tidegate/
	install -d $(DESTDIR)$(PREFIX)/share/tidegate/scenarios
	install -m 644 bench/scenarios/*.ini $(DESTDIR)$(PREFIX)/share/tidegate/scenarios
	for section in 1 5 8; do install -d $(DESTDIR)$(MANDIR)/man$$section && \
		install -m 644 $(BUILD)/man/*.$$section $(DESTDIR)$(MANDIR)/man$$section; done
	install -D -m 644 packaging/tidegate.conf.example $(DESTDIR)$(DOCDIR)/tidegate.conf.example
	install -D -m 644 packaging/completion/tidegate.bash $(DESTDIR)$(COMPLETIONS)/tidegatectl
	ln -sf tidegatectl $(DESTDIR)$(COMPLETIONS)/tidegated
	ln -sf tidegatectl $(DESTDIR)$(COMPLETIONS)/tidegate-load
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR)
	sed 's,@BINDIR@,$(PREFIX)/bin,' packaging/systemd/tidegated.service \
		>$(DESTDIR)$(UNITDIR)/tidegated.service
	chmod 644 $(DESTDIR)$(UNITDIR)/tidegated.service
	install -m 644 packaging/systemd/tidegate.sysusers $(DESTDIR)$(SYSUSERSDIR)/tidegate.conf

deb: ## build the Debian packages into build/deb, and hold them against lintian
	@scripts/deps.sh build deb
	@packaging/deb.sh build/deb

check-packaging: ## install, manual, completion, configuration and service: DEB=1 the packages, CONTAINER=1 runc
	@$(call prepared,build test deb $(if $(DEB),boot) $(if $(CONTAINER),container),all manual)
	@tests/packaging/run.sh $(BUILD) $(if $(DEB),build/deb)
	@$(if $(CONTAINER),tests/packaging/container.sh $(BUILD))

clean: ## remove build/
	rm -rf build

help: ## this list
	@echo 'Tidegate $(VERSION). On a fresh machine: make demo, make check.'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		awk -F'|' '{ printf "  %-12s %s\n", $$1, $$2 }'
	@echo 'FLAVOUR=asan, ubsan or tsan with any build target builds that flavour in build/FLAVOUR.'

.PRECIOUS: $(BUILD)/obj/%.o
-include $(shell find $(BUILD)/obj build/tidy build/analyze -name '*.d' 2>/dev/null)
