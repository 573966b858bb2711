"""Who asks: client certificates, bearer tokens (static file, service accounts), or nobody."""
