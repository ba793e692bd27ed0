"""Programs around the platform: set-up, embedded services, the demo plant, replay, and load generators."""
