"""What is computed without a look at the world: facts, bands, decisions, tests, capabilities."""
