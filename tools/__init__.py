"""What surrounds the platform: the one command, embedded services, the demo plant, replay, measurements."""
