# What can be done with this repository, see `make help`. Needs Rust, Python 3 and g++; the rest is fetched once,
# into .cuda/, .models/ and .clients/, and checked against the hashes in scripts/.

PREFIX ?= /usr/local
CARGO  ?= cargo
# Where cargo puts executables. The emulator that belongs to them is in deps/; a copy beside them may be older.
BUILD  ?= $(or $(CARGO_TARGET_DIR),target)/release

model = .models/SmolLM2-135M-Instruct

.PHONY: help demo test build install install-files gpu-bundle lint nvcc model clients

help:
	@echo 'make demo         answer a question with a real model, on the GPU or, without one, on the CPU'
	@echo 'make test         run every test'
	@echo 'make build        compile $(BUILD)/gale'
	@echo 'make install      put gale below PREFIX, now $(PREFIX)'
	@echo 'make gpu-bundle   collect in gpu-bundle/ what tests and measures gale on a machine that has a GPU and no compiler'
	@echo 'make lint         check formatting, and warnings as errors'
	@echo 'make model        fetch $(model)'
	@echo 'make clients      fetch the clients that tests try on the server'
	@echo 'make nvcc         fetch the CUDA compiler, unless there is one'

demo: build model
	$(BUILD)/gale generate -m $(model) --chat -p 'What is the capital of France?' --greedy -n 64 --device auto

# The documentation's examples and the benchmarks, once each, come first: what cargo says last is the summary of a suite
# with tests. The kernels' tests, which run under the emulator's checks, run once more without them, on several threads, and
# those whose blocks wait for each other's sums with the blocks in random order, too.
test: export REQUIRE_MODEL = 1
test: export REQUIRE_CLIENTS = 1
test: nvcc model clients
	$(CARGO) test --release --workspace --doc
	$(CARGO) test --release --workspace --benches
	scripts/check-peers
	CUDA_EMULATOR_MODE=fast $(CARGO) test --release --workspace --test kernels
	CUDA_EMULATOR_MODE=stress $(CARGO) test --release --workspace --test kernels -- attention prefill_residual
	scripts/check-bundle
	$(CARGO) test --release --workspace --lib --bins --tests --no-fail-fast

build: nvcc
	$(CARGO) build --release

install: build install-files

# Copies what is built already.
install-files:
	install -D -m 755 '$(BUILD)/gale' '$(DESTDIR)$(PREFIX)/bin/gale'
	install -D -m 755 '$(BUILD)/deps/libcuda_emulator.so' '$(DESTDIR)$(PREFIX)/lib/libcuda_emulator.so'

gpu-bundle: nvcc
	scripts/gpu-bundle

lint: nvcc
	$(CARGO) fmt --all --check
	scripts/import-results --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

# The places where build.rs looks before .cuda/.
nvcc:
	@if [ -z "$$NVCC" ] && [ ! -x "$$CUDA_HOME/bin/nvcc" ] && [ ! -x /usr/local/cuda/bin/nvcc ] \
	    && ! command -v nvcc >/dev/null; then scripts/get-nvcc; fi

model:
	@scripts/get-model

clients:
	@scripts/get-clients
