"""The physics of the demo plant: what every metric reads at any second."""
