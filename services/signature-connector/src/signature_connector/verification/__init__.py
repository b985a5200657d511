"""Whether a document can be signed, by which certificate, and whether it came back as it should.

Only ``isolation`` is used from outside: what reads foreign bytes runs in processes of its own.
"""
