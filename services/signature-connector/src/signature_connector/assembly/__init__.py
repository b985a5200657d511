"""Documents are prepared for a signature and put together with it: PAdES, CAdES, XAdES, JAdES.

Only ``isolated`` is used from outside: what reads foreign bytes runs in processes of its own.
"""
