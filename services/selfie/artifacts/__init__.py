"""Everything that a run reads and writes: the one way to its data.

`store` holds bytes under a root (a directory, or a bucket on S3 or Google Cloud Storage);
`manifests` publish what a step has made; `rows` and `shards` are the data sets, `weights` the
checkpoints, and `operations` the records of work in progress.
"""
