"""Programs that stand for the outside systems, with books of their own.

They share no code with the services, so that what a service sent and what a partner holds are
two independent records, and they can be told to misbehave (`faults`).
"""
