# Aliases of ./run, and the one thing that is no command of it: compiling the lock files.
.PHONY: run serve test check gate bench chaos lock

run:
	./run

serve:
	./run serve

test:
	./run test $(ARGS)

check gate:
	./run gate

bench:
	./run bench ingest

chaos:
	./run chaos

LOCK = uv pip compile --quiet --universal --python-version 3.11.0 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

# Add UPGRADE=--upgrade to take the newest versions.
lock:
	$(LOCK) $(UPGRADE) requirements.in -o requirements.txt
	$(LOCK) $(UPGRADE) requirements-dev.in -o requirements-dev.txt
