"""The data services that `./run` starts when no URL names external ones: PostgreSQL, Redis (Valkey), MQTT broker."""
