"""Programs around the platform: the demo plant, replay of recorded data."""
