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

WARN     := -Wall -Wextra -Wconversion -Wshadow -Werror
# Generated and library headers are not ours to warn about: -isystem.
CPPFLAGS += -D_GNU_SOURCE -DTG_VERSION='"$(VERSION)"' -I. -isystem $(GEN)
BASE_CFLAGS := -std=gnu11 -g -fno-omit-frame-pointer -MMD -MP
LDLIBS_MALLOC := -ljemalloc
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
WARN := $(filter-out -Werror,$(WARN))
FLAVOUR_CFLAGS := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LDLIBS_MALLOC :=
endif

CFLAGS_ALL = $(BASE_CFLAGS) $(FLAVOUR_CFLAGS) $(CFLAGS)
LDFLAGS_ALL = $(FLAVOUR_CFLAGS) $(LDFLAGS) -pthread

# --- what is built from what ---------------------------------------------------------------------

ROOMS    := base proto engine storage net client server loadgen ctl
# A program's main is the file named after it; everything else of a room is in its library.
MAINS    := server/tidegated.c loadgen/tidegate_load.c ctl/tidegatectl.c
sources   = $(filter-out $(MAINS),$(wildcard $(1)/*.c))
objects   = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
library   = $(BUILD)/lib/lib$(1).a

PB       := $(BUILD)/obj/gen/tidegate.pb-c.o
PB_H     := $(GEN)/tidegate/v1/tidegate.pb-c.h
BINARIES := $(BUILD)/tidegated $(BUILD)/tidegate-load $(BUILD)/tidegatectl
LIBS     := $(foreach room,$(ROOMS),$(call library,$(room)))

LDLIBS_DAEMON := -luring -llmdb -lprotobuf-c -lxxhash -linih $(LDLIBS_MALLOC)
LDLIBS_LOAD   := -luring -lprotobuf-c -lxxhash -ljansson -lm $(LDLIBS_MALLOC)
LDLIBS_CTL    := -llmdb -lprotobuf-c -lxxhash -ljansson $(LDLIBS_MALLOC)
LDLIBS_TEST   := -lcriterion -luring -llmdb -lprotobuf-c -lxxhash -linih -ljansson -lm

all: $(BINARIES) ## build the three programs

$(PB_H) $(GEN)/tidegate/v1/tidegate.pb-c.c &: proto/tidegate/v1/tidegate.proto
	@mkdir -p $(GEN)
	$(say) GEN $@
	$(Q)protoc-c --proto_path=proto --c_out=$(GEN) $<

$(PB): $(GEN)/tidegate/v1/tidegate.pb-c.c
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -w -c -o $@ $<

$(BUILD)/obj/%.o: %.c | $(PB_H)
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(WARN) -c -o $@ $<

define room_library
$(call library,$(1)): $(call objects,$(call sources,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(say) AR $$@
	$$(Q)ar rcs $$@ $$^
endef
$(foreach room,$(ROOMS),$(eval $(call room_library,$(room))))

link = $(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group

$(BUILD)/tidegated: $(BUILD)/obj/server/tidegated.o $(foreach r,server net engine storage proto base,$(call library,$(r))) $(PB)
	$(say) LD $@
	$(Q)$(link) $(LDLIBS_DAEMON)
$(BUILD)/tidegate-load: $(BUILD)/obj/loadgen/tidegate_load.o $(foreach r,loadgen client proto base,$(call library,$(r))) $(PB)
	$(say) LD $@
	$(Q)$(link) $(LDLIBS_LOAD)
$(BUILD)/tidegatectl: $(BUILD)/obj/ctl/tidegatectl.o $(foreach r,ctl client storage proto base,$(call library,$(r))) $(PB)
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
	@scripts/run_tests.sh 300 $(UNIT_TESTS) $(INTEGRATION_TESTS)

.PHONY: tests
tests: $(BINARIES) $(UNIT_TESTS) $(INTEGRATION_TESTS) $(FAULT_SO)

unit: ## the unit tests alone
	@$(call prepared,build test,$(UNIT_TESTS))
	@scripts/run_tests.sh 120 $(UNIT_TESTS)

integration: ## the integration tests alone: real sockets, a real LMDB
	@$(call prepared,build test,$(BINARIES) $(INTEGRATION_TESTS) $(FAULT_SO))
	@scripts/run_tests.sh 300 $(INTEGRATION_TESTS)

kills: ## 150 SIGKILLs: in a sale of 200,000 buyers, and while orders live; then the audits
	@$(call prepared,build test,all $(BUILD)/tests/integration/kills)
	@$(BUILD)/tests/integration/kills

# LeakSanitizer does not fail a Criterion test by itself: any report file does.
sanitized = rm -rf $(1) && mkdir -p $(1) && \
	$(2)_OPTIONS=log_path=$(CURDIR)/$(1)/report:detect_leaks=1:exitcode=99 \
	$(MAKE) --no-print-directory FLAVOUR=$(3) check && \
	if ls $(1)/report* >/dev/null 2>&1; then cat $(1)/report*; exit 1; fi

asan: ## all of check under AddressSanitizer and LeakSanitizer
	@$(call sanitized,build/asan/reports,ASAN,asan)

ubsan: ## all of check under UndefinedBehaviorSanitizer
	@$(call sanitized,build/ubsan/reports,UBSAN,ubsan)

tsan: ## threads under ThreadSanitizer: the stress program, then the daemon under load
	@scripts/deps.sh build
	@$(MAKE) --no-print-directory -j$(shell nproc) all
	@$(MAKE) --no-print-directory -j$(shell nproc) FLAVOUR=tsan build/tsan/tests/stress/stress build/tsan/tidegated
	@TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 build/tsan/tests/stress/stress
	@echo 'daemon: 3 cores, five stories, two readers of the outbox'
	@scripts/tsan_daemon.sh build/tsan $(BUILD)

$(BUILD)/tests/stress/stress: $(call objects,$(wildcard tests/stress/*.c)) $(foreach r,storage engine proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(filter-out -lcriterion,$(LDLIBS_TEST))

# The recorder is preloaded into a daemon; the driver looks at what is left after a power cut.
CRASH      := $(BUILD)/tests/crash/crash
RECORD     := $(BUILD)/tests/record.so
CRASH_ARGS  = $(if $(IMAGES),--images $(IMAGES)) $(if $(SEED),--seed $(SEED))

crash: ## power cuts at every moment of a recorded load, and the recovery of each: IMAGES=, SEED=
	@$(call prepared,build test,$(BUILD)/tidegated $(CRASH) $(RECORD))
	@$(CRASH) $(CRASH_ARGS)

$(CRASH): $(call objects,$(filter-out tests/crash/record.c,$(wildcard tests/crash/*.c))) $(foreach r,client storage proto base,$(call library,$(r))) $(PB)
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(link) $(filter-out -lcriterion,$(LDLIBS_TEST))

$(RECORD): tests/crash/record.c tests/crash/log.h
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(CC) $(CPPFLAGS) $(BASE_CFLAGS) -O2 $(WARN) -shared -fPIC -o $@ $< -ldl

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

bench-peers: ## Tidegate and Redis side by side in one run (installs redis-server)
	@scripts/deps.sh build peers && $(MAKE) --no-print-directory -j$(shell nproc) all
	@bench/peers.sh $(BUILD)

bench-against: ## this tree and an earlier commit side by side: make bench-against REVISION=...
	@$(if $(REVISION),,echo "make bench-against REVISION=<commit>" >&2; exit 2;) \
		scripts/deps.sh build && $(MAKE) --no-print-directory -j$(shell nproc) all
	@bench/against.sh $(BUILD) $(REVISION)

bench-expiry: ## a million reservations that expire within a second, and what orders notice of it
	@scripts/deps.sh build && $(MAKE) --no-print-directory -j$(shell nproc) all
	@bench/expiry.sh $(BUILD)

# --- the rest ------------------------------------------------------------------------------------

C_FILES = $(shell git ls-files '*.c' '*.h')

lint: ## formatting and cppcheck
	@scripts/deps.sh build lint && $(MAKE) --no-print-directory $(PB_H)
	@clang-format --dry-run --Werror $(C_FILES)
	@cppcheck --quiet --std=c11 --error-exitcode=1 --enable=warning,portability --inline-suppr \
		--suppress=missingIncludeSystem -I. -I$(GEN) $(ROOMS)

format: ## clang-format over the tree
	@clang-format -i $(C_FILES)

PREFIX ?= /usr/local
# The client library as others link it: with what it stands on, in one archive.
$(BUILD)/lib/libtidegate.a: $(foreach room,client proto base,$(call objects,$(call sources,$(room)))) $(PB)
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

install: all $(BUILD)/lib/libtidegate.a ## install the programs, the client library and the contract under PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/share/tidegate
	install $(BINARIES) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(BUILD)/lib/libtidegate.a $(DESTDIR)$(PREFIX)/lib
	install -d $(DESTDIR)$(PREFIX)/include/tidegate/tidegate/v1
	for room in base proto client; do install -d $(DESTDIR)$(PREFIX)/include/tidegate/$$room && \
		install -m 644 $$room/*.h $(DESTDIR)$(PREFIX)/include/tidegate/$$room; done
	install -m 644 $(PB_H) $(DESTDIR)$(PREFIX)/include/tidegate/tidegate/v1
	cp -r proto/tidegate $(DESTDIR)$(PREFIX)/share/tidegate/

clean: ## remove build/
	rm -rf build

help: ## this list
	@echo 'Tidegate $(VERSION). On a fresh machine: make demo, make check.'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		awk -F'|' '{ printf "  %-12s %s\n", $$1, $$2 }'
	@echo 'FLAVOUR=asan, ubsan or tsan with any build target builds that flavour in build/FLAVOUR.'

.PRECIOUS: $(BUILD)/obj/%.o
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
