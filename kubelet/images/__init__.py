"""OCI images for the native runtime: names, pulling from registries, a content store, unpacked layers.

Read :mod:`.reference` (what a name means), :mod:`.registry` (the distribution protocol), :mod:`.store` (blobs and layers on
disk, shared by all nodes of the machine), :mod:`.unpack` (a layer's tar becomes a directory for overlayfs).
"""
