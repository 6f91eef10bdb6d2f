"""The HTTP door: decode, ask the engine, encode. No rule of money lives here."""
