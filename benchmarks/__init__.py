"""Benchmarks: what `unrolled` does, how fast, beside the best that others do on the same machine in the same minutes.

    python -m benchmarks [NAME...]

`registry` says what a work is, `runner` measures one, `limits` what the machine could do, `machine` what it is,
`results` keeps and shows figures. `works/` has one file a family of works, `peers/` one file a peer.
"""
