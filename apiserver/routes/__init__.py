"""What is not about a resource: version, health, metrics, discovery, schemas. ``front`` is the FastAPI application of them."""
