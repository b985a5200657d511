"""The services behind the gateway."""

from gateway.clients.behind import Answer, Behind
from gateway.clients.catalogue import Catalogue

__all__ = ["Answer", "Behind", "Catalogue"]
