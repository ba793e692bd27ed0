"""What surrounds the platform: the one command, its embedded services, the plant simulator, replay and measurements."""
