"""What the package takes from inside numba and llvmlite, all of it in this folder."""
