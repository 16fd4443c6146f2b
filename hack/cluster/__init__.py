"""A real Kubernetes for tests, on this machine and in this minute.

Two levels. The *control plane* is etcd, an API server and the controllers, as ordinary child
processes on loopback: no root, any number side by side. The *node* adds a kubelet, containerd,
kube-proxy, a scheduler and DNS, in namespaces of its own: real pods, for end to end.

`cluster.running.started` is the way in from Python, ``python -m cluster`` from a shell.
"""
