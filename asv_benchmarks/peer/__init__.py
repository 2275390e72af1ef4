"""The parts of peers.py; `with_*`, `native` and `forecast_*` run in processes of their own."""
