"""Tells the national portal (Cổng Dịch vụ công quốc gia) every dossier and every step."""
