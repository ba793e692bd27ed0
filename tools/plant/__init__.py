"""The demo plant: nineteen simulated devices that speak MQTT like real ones."""
