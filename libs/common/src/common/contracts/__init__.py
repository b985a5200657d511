"""The published language: one module per producing service, data only.

Every event is declared once, by the service that tells it. ``registry`` finds the class of a type.
"""
