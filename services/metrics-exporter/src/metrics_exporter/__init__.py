"""Measurements for the monitoring system of digital government (NĐ 42/2022 Điều 13.2.c)."""
