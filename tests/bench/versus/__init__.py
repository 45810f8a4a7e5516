"""scrubd beside fio: what tests/bench/versus-fio is made of. Python's standard library, nothing else."""
