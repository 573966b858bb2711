"""The kubelet's server, port 10250: what the API server, and nobody else, asks of a node."""
