"""Play Microsoft.Network: the resource provider, and the packets that its resources let through."""
