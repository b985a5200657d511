"""Does a client system do what it has to? Seen from the wire, while it works in the sandbox.

The kit stands between the system and the sandbox. It passes requests on, disturbs some in the ways
in which networks and busy servers do, writes down what came, and judges that by its obligations.
"""
