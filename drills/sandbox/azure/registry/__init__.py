"""Play Azure Container Registry: the resource provider, and the registries behind their login servers."""
