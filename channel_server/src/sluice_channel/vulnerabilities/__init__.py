"""Known vulnerabilities, in the OSV format, and which packages of an environment they affect."""
