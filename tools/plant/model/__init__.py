"""The physics of the demo plant: what every metric reads at any second, from a seed and a list of episodes."""
