"""One folder a capability. No service knows another: what it needs it states as a port."""
