"""Kill things while telemetry flows, and count what is lost: `./run chaos`."""
