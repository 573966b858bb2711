"""The node agent: makes this machine a Node and runs the pods that are bound to it.

How a pod comes to life: the informer shows it (:mod:`kubelet.pods.workers`), its worker (:mod:`kubelet.pods.worker`) looks at what
the runtime has of it (:mod:`kubelet.pods.runtimecache`), decides (:mod:`kubelet.pods.actions`, a pure function), does it
(:mod:`kubelet.pods.runner`) and reports (:mod:`kubelet.pods.status`, pure; :mod:`kubelet.pods.statuswriter`). Probes
(:mod:`kubelet.probes`) and volumes (:mod:`kubelet.volumes`) serve it; :mod:`kubelet.node` is the Node object and its lease;
:mod:`kubelet.server` is what the API server calls: logs, exec, attach, port-forward, stats. :mod:`kubelet.agent` puts it together.

Runtimes stand behind :mod:`kubelet.cri.api`; the pod network is :mod:`kubelet.network`. Nothing here is kept in memory that
could not be found again: containers outlive the kubelet and are known by their labels.
"""
