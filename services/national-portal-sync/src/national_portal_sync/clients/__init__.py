"""The national portal's side of the wire: Vietnamese names stop here.

No specification was found (the field tables of QCVN 120:2019/BTTTT are not public); what is known
was seen in code that talks to the real portal.
"""
