"""Measurements of the platform as it is shipped, beside yardsticks of the same run: `./run bench NAME`."""
