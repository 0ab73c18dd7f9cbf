"""Where code that nobody has read may run: one protocol, several ways to confine it."""
