"""One module an outside thing: what services state as ports is met here."""
