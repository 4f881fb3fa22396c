"""The parts of bench/run.py: processes, load, KEA, competitors, figures."""
