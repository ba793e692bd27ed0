"""The data services that `./run` starts where no URL names external ones: PostgreSQL, Redis, MQTT broker."""
