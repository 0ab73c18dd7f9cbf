"""``agentrl/Shop-v0``: a WebShop-like store of generated products, searched and bought from in text."""
