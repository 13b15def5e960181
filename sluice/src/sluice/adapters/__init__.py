"""The only users of py-rattler, of py-rattler-build and of subprocesses."""
