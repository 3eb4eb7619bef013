"""Play Azure Storage: the Microsoft.Storage resource provider and the blob service behind it."""
