"""The container runtime interface: what a kubelet asks of a runtime.

The calls and message shapes are those of the CRI v1 gRPC API (``runtime.v1.RuntimeService`` and ``ImageService``,
kubernetes/cri-api), as plain dataclasses, so that an adapter for containerd is a translation of names and nothing
more. Read :mod:`kubelet.cri.api`. Adapters: :mod:`kubelet.cri.native` (Linux namespaces, no engine) and
:mod:`kubelet.cri.docker` (a Docker engine).
"""
