"""Benchmarks of ctrain for airspeed velocity."""
