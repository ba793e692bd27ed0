"""Parts of the MQTT edge: the packets on the wire, how to sign in, and a look at a broker."""
